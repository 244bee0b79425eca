//! Broken projects: each must be refused with the place of the fault, its code, and words that help; and a
//! project with many faults with all of them at once, and none that only follows from another.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use lagar_flow::{Code, Error, SystemClock, codes};
use lagar_orchestrate::{Checked, LoadOptions, Project, Report, RunOptions, Unwatched, Workplace};

/// One broken text: the place (`line:column`), the code, and words of the message or the hint.
struct Broken(&'static str, &'static str, Code, &'static str);

/// The 40 project files, and a few more.
const PROJECT_FILES: &[Broken] = &[
    // What is not YAML, or not a map.
    Broken("name: shop\nlake: [a, b\n", "3:1", codes::YAML, ""),
    Broken("name: shop\nlimits:\n\tthreads: 2\n", "3:2", codes::YAML, "tabs"),
    Broken("name: shop\nlimits: {}\nname: other\n", "3:1", codes::YAML, "name"),
    Broken("name: shop\nlake: \"./lake\n", "2:7", codes::YAML, ""),
    Broken("- name: shop\n", "1:1", codes::CONFIG, "must be a map"),
    Broken("name: shop\nlake: *nowhere\n", "2:7", codes::YAML, "anchor"),
    // The keys of the project.
    Broken("lake: ./lake\n", "1:1", codes::CONFIG, "`name` is missing"),
    Broken("", "1:1", codes::CONFIG, "`name` is missing"),
    Broken("name: My Shop\n", "1:7", codes::NAME, "only a-z, 0-9 and _"),
    Broken("name: 7\n", "1:7", codes::CONFIG, "`name` must be text"),
    Broken("name: shop\nlakes: ./lake\n", "2:1", codes::CONFIG_UNKNOWN, "did you mean `lake`?"),
    Broken("name: shop\nsource: {}\n", "2:1", codes::CONFIG_UNKNOWN, "did you mean `sources`?"),
    Broken("name: shop\nexports: {}\n", "2:1", codes::CONFIG_LATER, "`exports` is not supported yet"),
    Broken("name: shop\npredictors: []\n", "2:13", codes::CONFIG, "must be a map of names and predictors"),
    Broken(
        "name: shop\npredictors: {p: {algorithm: random_forrest, from: refined.x}}\n",
        "2:29",
        codes::CONFIG,
        "did you mean `random_forest`?",
    ),
    Broken("name: shop\nschedules: []\n", "2:1", codes::CONFIG_LATER, "`schedules` is not supported yet"),
    Broken("name: shop\ndialect: spark\n", "2:10", codes::CONFIG_LATER, "spark"),
    Broken("name: shop\ndialect: mysql\n", "2:10", codes::CONFIG, "`mysql` is not a dialect"),
    Broken("name: shop\ntimezone: America/Bogata\n", "2:11", codes::CONFIG, "did you mean `America/Bogota`?"),
    Broken("name: shop\ntimezone: noon\n", "2:11", codes::CONFIG, "`noon` is not a time zone"),
    Broken("name: shop\nnull_tokens: N/A\n", "2:14", codes::CONFIG, ""),
    Broken("name: shop\nnull_tokens: [N/A, 0]\n", "2:20", codes::CONFIG, ""),
    Broken("name: shop\nlake: ''\n", "2:7", codes::CONFIG, "`lake` is empty"),
    Broken("name: shop\nlake: ftp://host/lake\n", "2:7", codes::CONFIG, "`ftp://`"),
    Broken(
        "name: shop\nlake: hdfs://host/lake\n",
        "2:7",
        codes::CONFIG_LATER,
        "`hdfs://` is not supported yet",
    ),
    // Limits.
    Broken(
        "name: shop\nlimits: {memory: 4GiB, thread: 2}\n",
        "2:24",
        codes::CONFIG_UNKNOWN,
        "did you mean `threads`?",
    ),
    Broken("name: shop\nlimits:\n  memory: 4 gigs\n", "3:11", codes::CONFIG, "64MiB"),
    Broken("name: shop\nlimits:\n  threads: 0\n", "3:12", codes::CONFIG, "must be 1 to 1024"),
    Broken(
        "name: shop\nlimits:\n  concurrency: many\n",
        "3:16",
        codes::CONFIG,
        "`limits.concurrency` must be a whole number",
    ),
    Broken("name: shop\nlimits: 4GiB\n", "2:9", codes::CONFIG, "`limits` must be a map"),
    // Variables.
    Broken("name: shop\nlake: ${NO_SUCH_LAKE}\n", "2:7", codes::VARIABLE, "`NO_SUCH_LAKE` is not set"),
    Broken("name: shop\nlake: ${NO_SUCH_LAKE:?ask the owner}\n", "2:7", codes::VARIABLE, "ask the owner"),
    Broken(
        "name: shop\nlake: ${vars.bukket}\nvars: {bucket: x}\n",
        "2:7",
        codes::VARIABLE,
        "did you mean `bucket`?",
    ),
    Broken("name: shop\nvars:\n  a: ${vars.b}\n  b: ${vars.a}\n", "3:6", codes::VARIABLE, "a → b → a"),
    Broken("name: shop\nlake: ./${LAKE\n", "2:7", codes::VARIABLE, "not closed"),
    Broken("name: shop\nvars: [a]\n", "2:7", codes::CONFIG, "`vars` must be a map"),
    Broken("name: shop\nvars:\n  a: [1]\n", "3:6", codes::CONFIG, "`vars.a` must be a text"),
    Broken("name: shop\nprofiles: live\n", "2:11", codes::CONFIG, "`profiles` must be a map"),
    // Sources.
    Broken("name: shop\nsources: [a]\n", "2:10", codes::CONFIG, "`sources` must be a map"),
    Broken(
        "name: shop\nsources:\n  Orders: {type: file, url: a.csv}\n",
        "3:3",
        codes::NAME,
        "`Orders` is not a name",
    ),
    Broken(
        "name: shop\nsources:\n  ../x: {type: file, url: a.csv}\n",
        "3:3",
        codes::NAME,
        "`../x` is not a name",
    ),
    Broken("name: shop\nsources:\n  orders: a.csv\n", "3:11", codes::CONFIG, "`orders` must be a map"),
    Broken("name: shop\nsources:\n  orders:\n    url: a.csv\n", "3:3", codes::CONFIG, "has no `type`"),
    Broken(
        "name: shop\nsources:\n  orders: {type: fiel, url: a.csv}\n",
        "3:18",
        codes::CONFIG,
        "did you mean `file`?",
    ),
    Broken(
        "name: shop\nsources:\n  orders: {type: kafka}\n",
        "3:18",
        codes::CONFIG_LATER,
        "type `kafka` are not supported yet",
    ),
    Broken(
        "name: shop\nsources:\n  orders:\n    type: file\n    ulr: a.csv\n",
        "5:5",
        codes::CONFIG_UNKNOWN,
        "did you mean `url`?",
    ),
    Broken(
        "name: shop\nsources:\n  orders:\n    type: file\n    url: a.csv\n    colums: {a: int}\n",
        "6:5",
        codes::CONFIG_UNKNOWN,
        "did you mean `columns`?",
    ),
    Broken(
        "name: shop\nsources:\n  orders:\n    type: file\n    format: csv\n",
        "3:3",
        codes::CONFIG,
        "`url`",
    ),
    Broken(
        "name: shop\nsources:\n  orders:\n    type: file\n    url: [a.csv]\n",
        "5:10",
        codes::CONFIG,
        "`sources.orders.url`",
    ),
    Broken(
        "name: shop\nsources:\n  orders:\n    type: file\n    url: a.csv\n    columns: {price: dubble}\n",
        "6:22",
        codes::CONFIG,
        "the types are",
    ),
    Broken(
        "name: shop\nsources:\n  orders:\n    type: file\n    url: a.csv\n    max_rejected: 101%\n",
        "6:19",
        codes::CONFIG,
        "for example 10 or 1%",
    ),
    Broken(
        "name: shop\nsources:\n  orders:\n    type: file\n    url: a.csv\n    require_rows: yes\n",
        "6:19",
        codes::CONFIG,
        "write true",
    ),
    Broken(
        "name: shop\nsources:\n  orders:\n    type: file\n    url: a.csv\n    schema: frezee\n",
        "6:13",
        codes::CONFIG,
        "did you mean `freeze`?",
    ),
    Broken(
        "name: shop\nsources:\n  orders:\n    type: file\n    url: a.csv\n    csv: {delimeter: ';'}\n",
        "6:11",
        codes::CONFIG_UNKNOWN,
        "did you mean `delimiter`?",
    ),
    Broken(
        "name: shop\nsources:\n  calls:\n    type: rest\n    url: https://a.example\n    for_each: {a: b}\n",
        "6:15",
        codes::CONFIG_LATER,
        "`for_each` is not supported yet",
    ),
    Broken(
        "name: shop\nsources:\n  calls:\n    type: rest\n    url: https://a.example\n    window: {size: 1d}\n",
        "6:5",
        codes::CONFIG,
        "needs the key `from`",
    ),
    Broken(
        "name: shop\nsources:\n  calls:\n    type: rest\n    url: https://a.example\n    window: {size: 1d, from: 2011-02-31}\n",
        "6:30",
        codes::CONFIG,
        "there is no 2011-02-31: that month has 28 days",
    ),
    Broken(
        "name: shop\nsources:\n  calls: {type: rest, url: 'https://a.example', pages: {type: ofset, size: 5}}\n",
        "3:63",
        codes::CONFIG,
        "offset",
    ),
    Broken(
        "name: shop\nsources:\n  calls: {type: rest, url: 'https://a.example', rows: '$..['}\n",
        "3:55",
        codes::CONFIG,
        "JSONPath",
    ),
    Broken(
        "name: shop\nsources:\n  calls: {type: rest, url: 'https://a.example', timeout: {total: soon}}\n",
        "3:66",
        codes::CONFIG,
        "250ms",
    ),
    Broken(
        "name: shop\nsources:\n  calls: {type: rest, url: 'https://a.example', auth: {baerer: x}}\n",
        "3:56",
        codes::CONFIG_UNKNOWN,
        "bearer",
    ),
    Broken(
        "name: shop\nsources:\n  orders: {type: sql, url: 'sqlite:x.db'}\n",
        "3:3",
        codes::CONFIG,
        "table",
    ),
    Broken(
        "name: shop\nsources:\n  orders: {type: sql, url: 'oracle://h/x', table: t}\n",
        "3:28",
        codes::CONFIG,
        "postgres://",
    ),
    Broken(
        "name: shop\nsources:\n  orders: {type: file, url: a.xlsx, format: xlsx}\n",
        "3:45",
        codes::CONFIG,
        "csv",
    ),
];

/// The models, each as `refined/broken.sql`.
const MODELS: &[Broken] = &[
    Broken(
        "/*---\nmaterialise: replace\n---*/\nSELECT 1 AS a\n",
        "2:1",
        codes::FRONT_MATTER,
        "did you mean `materialize`?",
    ),
    Broken(
        "/*---\nmaterialize: replase\n---*/\nSELECT 1 AS a\n",
        "2:14",
        codes::FRONT_MATTER,
        "did you mean `replace`?",
    ),
    Broken("/*---\nkey: [id\n---*/\nSELECT 1 AS id\n", "3:1", codes::YAML, "brackets"),
    Broken("SELEC 1 AS a\n", "1:1", codes::SQL_SYNTAX, ""),
    Broken("-- A table.\nSELECT a FROM trusted.orders WHERE\n", "", codes::SQL_SYNTAX, ""),
    Broken("-- A table.\nSELECT a FROM orders\n", "2:15", codes::SQL_UNKNOWN_TABLE, "raw.orders"),
    Broken("SELECT a FROM refined.broken\n", "1:15", codes::CYCLE, "reads its own table"),
    Broken("SELECT 1 AS a;\nSELECT 2 AS a\n", "2:1", codes::SQL_NOT_ALLOWED, "more than one statement"),
    Broken("DELETE FROM trusted.orders\n", "1:1", codes::SQL_NOT_ALLOWED, "DELETE"),
    Broken("/*---\nkey: [a]\nSELECT 1 AS a\n", "1:1", codes::FRONT_MATTER, "does not end"),
    Broken("-- Only words.\n", "", codes::SQL_SYNTAX, "SELECT"),
    Broken(
        "/*---\nchecks:\n  - {name: n, sql: \"a > 0\", severity: fatal}\n---*/\nSELECT 1 AS a\n",
        "3:39",
        codes::FRONT_MATTER,
        "fatal",
    ),
];

async fn problems(project: &str, model: Option<&str>) -> (Vec<Error>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "lagar.yaml", project);
    if let Some(model) = model {
        write(folder.path(), "refined/broken.sql", model);
    }
    let options = LoadOptions::with_env(BTreeMap::new());
    let error = Project::load(folder.path().to_str().unwrap(), options).await.expect_err("it is broken");
    (error.each().cloned().collect(), folder)
}

fn write(folder: &Path, path: &str, text: &str) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// What is wrong with the problems found, if they are not exactly the one that is meant.
fn mismatch(broken: &Broken, found: &[Error], file: &Path) -> Option<String> {
    let Broken(text, place, code, words) = broken;
    let described = || {
        let each: Vec<String> = found
            .iter()
            .map(|e| {
                format!(
                    "{} {} at {:?}, hint {:?}",
                    e.code().id,
                    e,
                    e.place().map(ToString::to_string),
                    e.hint_text()
                )
            })
            .collect();
        format!("expected {} at {place:?} with {words:?}, found {each:#?} for\n{text}", code.id)
    };
    let [error] = found else { return Some(described()) };
    let shown = error.place().map(ToString::to_string).unwrap_or_default();
    let expected = format!("{}:{place}", file.display());
    let said = format!("{error} {}", error.hint_text().unwrap_or_default());
    // Where a parser gives up is its own affair; that it names the file and a line is ours.
    let right_place = if place.is_empty() { shown.starts_with(&expected) } else { shown == expected };
    let right = error.code() == *code && said.contains(words) && right_place;
    (!right).then(described)
}

#[tokio::test]
async fn every_broken_project_file_is_named_at_its_place() {
    assert!(PROJECT_FILES.len() >= 40);
    let mut wrong = Vec::new();
    for broken in PROJECT_FILES {
        let (found, folder) = problems(broken.0, None).await;
        wrong.extend(mismatch(broken, &found, &folder.path().join("lagar.yaml")));
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), PROJECT_FILES.len(), wrong.join("\n"));
}

#[tokio::test]
async fn every_broken_model_is_named_at_its_place() {
    let mut wrong = Vec::new();
    for broken in MODELS {
        let (found, folder) = problems("name: shop\n", Some(broken.0)).await;
        wrong.extend(mismatch(broken, &found, &folder.path().join("refined/broken.sql")));
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), MODELS.len(), wrong.join("\n"));
}

/// All that `lagar check` says about these files.
async fn check(folder: &Path) -> Checked {
    let options = LoadOptions { thorough: true, ..LoadOptions::with_env(BTreeMap::new()) };
    let draft = Project::draft(folder.to_str().unwrap(), options).await.expect("there is a project");
    lagar_orchestrate::check(draft, Arc::new(SystemClock)).await.unwrap()
}

async fn run(folder: &Path) -> Result<Report, Error> {
    let options = LoadOptions::with_env(BTreeMap::new());
    let project = Arc::new(Project::load(folder.to_str().unwrap(), options).await?);
    let workplace = Workplace::open(project, Arc::new(SystemClock)).await?;
    let options = RunOptions {
        select: Vec::new(),
        full_refresh: false,
        partitions: Vec::new(),
        retry: Default::default(),
        seed: 1,
        cancel: Default::default(),
        watcher: Arc::new(Unwatched),
    };
    lagar_orchestrate::run(&workplace, options).await
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        write(folder.path(), path, text);
    }
    folder
}

/// `place code words` of every problem, the place below the project.
fn told(checked: &Checked, folder: &Path) -> Vec<String> {
    let project = format!("{}/", folder.display());
    let one = |error: &Error| {
        let place = error.place().map(ToString::to_string).unwrap_or_default();
        let hint = error.hint_text().unwrap_or_default();
        format!("{} {} {} | {hint}", place.replace(&project, ""), error.code().id, error.message())
    };
    // As they are printed: together.
    Error::all(checked.problems.clone()).iter().flat_map(Error::each).map(one).collect()
}

/// Every problem begins with the place and code, and has the words, of the line at its position.
fn assert_told(checked: &Checked, folder: &Path, expected: &[(&str, Code, &str)]) {
    let found = told(checked, folder);
    let fits = |(found, (place, code, words)): (&String, &(&str, Code, &str))| {
        found.starts_with(&format!("{place} {} ", code.id)) && found.contains(words)
    };
    let all = found.len() == expected.len() && found.iter().zip(expected).all(fits);
    assert!(all, "expected {expected:#?}, found {found:#?}");
}

#[tokio::test]
async fn all_faults_of_a_project_file_come_at_once() {
    let text = "\
name: Shop
laek: x
timezone: Mars/Base
limits: {threads: 0, memry: 1GiB, spill: lots, concurrency: '${NONE}'}
vars: {a: [1], b: '${NO_B}', c: 1, c: 2}
profiles:
  live: {limits: {memory: much}, vars: {b: '${ONLY_THERE}'}, sources: {a: {url: 5}}}
  test: no map
sources:
  a: {type: file, url: [1], colums: {}, max_rejected: 101%, tags: [1, 2]}
  b: {type: nothing, require_rows: maybe}
  c: {type: rest, params: {a: b}, timeout: {total: soon, raed: 1s}, rows: '$..['}
  d: {typ: file, url: d.csv}
  e: {type: file, ulr: e.csv, schema: frezee}
  Bad Name: {type: file, url: x.csv}
  e: {type: file, url: e.csv}
";
    let folder = folder(&[("lagar.yaml", text), (".env", "A\nB='\n")]);
    let checked = check(folder.path()).await;
    assert_told(
        &checked,
        folder.path(),
        &[
            (".env:1:1", codes::CONFIG, "no `=`"),
            (".env:2:1", codes::CONFIG, "not closed"),
            ("lagar.yaml:1:7", codes::NAME, "`Shop` is not a name"),
            ("lagar.yaml:2:1", codes::CONFIG_UNKNOWN, "did you mean `lake`?"),
            ("lagar.yaml:3:11", codes::CONFIG, "`Mars/Base` is not a time zone"),
            ("lagar.yaml:4:19", codes::CONFIG, "must be 1 to 1024"),
            ("lagar.yaml:4:22", codes::CONFIG_UNKNOWN, "did you mean `memory`?"),
            ("lagar.yaml:4:42", codes::CONFIG, "64MiB"),
            ("lagar.yaml:4:61", codes::VARIABLE, "`NONE` is not set"),
            ("lagar.yaml:5:11", codes::CONFIG, "`vars.a` must be a text"),
            ("lagar.yaml:5:19", codes::VARIABLE, "`NO_B` is not set"),
            ("lagar.yaml:5:36", codes::YAML, "`c` stands here a second time"),
            ("lagar.yaml:7:27", codes::CONFIG, "`much` is not a size"),
            ("lagar.yaml:7:81", codes::CONFIG, "`sources.a.url` must be text"),
            ("lagar.yaml:8:9", codes::CONFIG, "the profile `test` must be a map"),
            ("lagar.yaml:10:24", codes::CONFIG, "`sources.a.url` must be text"),
            ("lagar.yaml:10:29", codes::CONFIG_UNKNOWN, "did you mean `columns`?"),
            ("lagar.yaml:10:55", codes::CONFIG, "for example 10 or 1%"),
            ("lagar.yaml:10:68", codes::CONFIG, "`sources.a.tags[0]` must be text"),
            ("lagar.yaml:10:71", codes::CONFIG, "`sources.a.tags[1]` must be text"),
            ("lagar.yaml:11:13", codes::CONFIG, "`nothing` is not a type of source"),
            ("lagar.yaml:11:36", codes::CONFIG, "must be true or false"),
            ("lagar.yaml:12:3", codes::CONFIG, "`sources.c` needs the key `url`"),
            ("lagar.yaml:12:52", codes::CONFIG, "250ms"),
            ("lagar.yaml:12:58", codes::CONFIG_UNKNOWN, "did you mean `read`?"),
            ("lagar.yaml:12:75", codes::CONFIG, "JSONPath"),
            ("lagar.yaml:13:7", codes::CONFIG_UNKNOWN, "did you mean `type`?"),
            ("lagar.yaml:14:19", codes::CONFIG_UNKNOWN, "did you mean `url`?"),
            ("lagar.yaml:14:39", codes::CONFIG, "did you mean `freeze`?"),
            ("lagar.yaml:15:3", codes::NAME, "`Bad Name` is not a name"),
            ("lagar.yaml:16:3", codes::YAML, "`e` stands here a second time"),
        ],
    );
}

#[tokio::test]
async fn all_faults_of_all_models_come_at_once() {
    let folder = folder(&[
        (
            "lagar.yaml",
            "name: shop\nsources:\n  orders: {type: file, url: orders.csv}\n  broken: {type: file}\n",
        ),
        ("orders.csv", "id,title,price\n1,a,2.5\n"),
        ("trusted/orders.sql", "SELECT id, title, price FROM raw.orders\n"),
    ]);
    // With a load the columns are known.
    write(folder.path(), "lagar.yaml", "name: shop\nsources:\n  orders: {type: file, url: orders.csv}\n");
    run(folder.path()).await.unwrap();
    for (path, text) in [
        (
            "lagar.yaml",
            "name: shop\nsources:\n  orders: {type: file, url: orders.csv}\n  broken: {type: file}\n",
        ),
        // Every fault of one front matter, and those of its SELECT.
        (
            "trusted/bad_front.sql",
            "/*---\nmaterialise: append\nkey: [id, idd]\nkey: [id]\ntags: {a: b}\npartition_by: [id, 5, id]\nchecks:\n  - uniqe: [id]\n  \
             - 7\n  - {not_null: [titel], severty: warn, sql: \"id > 0\"}\n  - relation: {id: orders}\n  - id >\n  - accepted: {prize: [1]}\n---*/\n\
             SELECT id, titel, prize FROM raw.orders WHERE ordr > 1\n",
        ),
        // One with a wrong SELECT, and one that reads it and has a fault of its own.
        ("trusted/bad_sql.sql", "/*---\nkey: [a\n---*/\nSELEC 1\n"),
        (
            "refined/behind_bad_sql.sql",
            "SELECT s.a, o.pric FROM trusted.bad_sql s JOIN trusted.ordes o ON true\n",
        ),
        // What reads what is broken is not reported for that.
        ("refined/only_behind.sql", "SELECT a FROM trusted.bad_sql\n"),
        ("refined/behind_broken_source.sql", "SELECT a FROM raw.broken\n"),
        ("refined/behind_bad_front.sql", "SELECT id FROM trusted.bad_front\n"),
        // Its front matter does not fit its columns; what reads it is planned all the same.
        (
            "refined/top.sql",
            "/*---\nkey: [idd]\nchecks:\n  - pric > 0\n---*/\nSELECT id, price FROM trusted.orders\n",
        ),
        ("refined/behind_top.sql", "SELECT id, prise FROM refined.top\n"),
        // Circles, and a model that needs one of them.
        ("trusted/a.sql", "SELECT b.id\nFROM trusted.b AS b\n"),
        ("trusted/b.sql", "-- B.\nSELECT id FROM trusted.c\n"),
        ("trusted/c.sql", "SELECT id FROM trusted.a\n"),
        ("trusted/x.sql", "SELECT id FROM trusted.y\n"),
        (
            "trusted/y.sql",
            "/*---\nchecks:\n  - relation: {id: trusted.x.id}\n---*/\nSELECT id FROM trusted.orders\n",
        ),
        ("refined/behind_a.sql", "SELECT id FROM trusted.a\n"),
        // Places that nothing reads.
        ("Trusted/users.sql", "SELECT idd FROM trusted.orders\n"),
        ("refine/sums.sql", "SELECT sum(price) AS total FROM trusted.users\n"),
        ("raw/orders.sql", "SELECT 1 AS a\n"),
        ("refined/upper.SQL", "SELECT 1 AS a\n"),
        ("test/orders.yaml", "model: trusted.orders\ntests: {one: {given: {raw.order: []}, expect: []}}\n"),
        (
            "tests/top.yml",
            "model: refined.top\ntests: {one: {gven: {trusted.orders: []}, expect: 5}, two: {expect: []}}\n",
        ),
        (
            "tests/bad_sql.yaml",
            "model: trusted.bad_sql\ntests: {one: {given: {trusted.orders: []}, expect: []}}\n",
        ),
        ("tests/old/x.yaml", "model: nothing\n"),
        ("scratch/x.sql", "nothing\n"),
        ("notes.sql", "nothing\n"),
        ("refined/Upper.sql", "SELECT 1 AS a\n"),
    ] {
        write(folder.path(), path, text);
    }
    let checked = check(folder.path()).await;
    assert_told(
        &checked,
        folder.path(),
        &[
            ("Trusted", codes::NAME, "did you mean `trusted`?"),
            ("Trusted/users.sql:1:8", codes::SQL_UNKNOWN_COLUMN, "did you mean `id`?"),
            ("lagar.yaml:4:3", codes::CONFIG, "`sources.broken` needs the key `url`"),
            ("raw", codes::NAME, "raw tables are made by the sources"),
            ("refine", codes::NAME, "did you mean `refined`?"),
            ("refined/Upper.sql", codes::NAME, "`Upper` is not a name"),
            ("refined/behind_bad_sql.sql:1:48", codes::SQL_UNKNOWN_TABLE, "did you mean `trusted.orders`?"),
            ("refined/behind_top.sql:1:12", codes::SQL_UNKNOWN_COLUMN, "did you mean `price`?"),
            ("refined/top.sql:2:7", codes::FRONT_MATTER, "did you mean `id`?"),
            ("refined/top.sql:4:5", codes::SQL_UNKNOWN_COLUMN, "there is no column `pric`"),
            ("refined/upper.SQL", codes::NAME, "did you mean `refined/upper.sql`?"),
            ("test", codes::NAME, "did you mean `tests`?"),
            ("test/orders.yaml:2:23", codes::CONFIG, "did you mean `raw.orders`?"),
            ("tests/top.yml", codes::NAME, "did you mean `tests/top.yaml`?"),
            ("tests/top.yml:2:15", codes::CONFIG_UNKNOWN, "did you mean `given`?"),
            ("tests/top.yml:2:51", codes::CONFIG, "`tests.one.expect` must be a list"),
            ("tests/top.yml:2:55", codes::CONFIG, "`tests.two` needs the key `given`"),
            ("trusted/a.sql:2:6", codes::CYCLE, "trusted.a → trusted.b → trusted.c → trusted.a"),
            ("trusted/bad_front.sql:2:1", codes::FRONT_MATTER, "did you mean `materialize`?"),
            ("trusted/bad_front.sql:4:1", codes::YAML, "`key` stands here a second time"),
            ("trusted/bad_front.sql:5:7", codes::FRONT_MATTER, "`tags` must be a list of names"),
            ("trusted/bad_front.sql:6:15", codes::FRONT_MATTER, "`partition_by` has `id` twice"),
            ("trusted/bad_front.sql:6:20", codes::FRONT_MATTER, "`partition_by[1]` must be text"),
            ("trusted/bad_front.sql:8:5", codes::FRONT_MATTER, "did you mean `unique`?"),
            ("trusted/bad_front.sql:9:5", codes::FRONT_MATTER, "an SQL condition or a map"),
            ("trusted/bad_front.sql:10:25", codes::FRONT_MATTER, "did you mean `severity`?"),
            ("trusted/bad_front.sql:11:20", codes::FRONT_MATTER, "zone.table.column"),
            ("trusted/bad_front.sql:12:5", codes::SQL_SYNTAX, "the check `id >`"),
            ("trusted/bad_front.sql:15:12", codes::SQL_UNKNOWN_COLUMN, "did you mean `title`?"),
            ("trusted/bad_front.sql:15:19", codes::SQL_UNKNOWN_COLUMN, "did you mean `price`?"),
            ("trusted/bad_front.sql:15:47", codes::SQL_UNKNOWN_COLUMN, "there is no column `ordr`"),
            ("trusted/bad_sql.sql:3:1", codes::YAML, "brackets"),
            ("trusted/bad_sql.sql:4:1", codes::SQL_SYNTAX, "SELECT"),
            ("trusted/x.sql:1:16", codes::CYCLE, "`trusted.y` names `trusted.x` at"),
        ],
    );
    let circle = checked.problems.iter().find(|problem| problem.message().contains("trusted.c")).unwrap();
    let hint = circle.hint_text().unwrap();
    for step in ["`trusted.b` names `trusted.c` at", "trusted/b.sql:2:16", "trusted/c.sql:1:16"] {
        assert!(hint.contains(step), "{hint}");
    }
    let warnings = checked.warnings.join("\n");
    for words in
        ["tests/old/x.yaml is not read", "a .sql file in", "scratch", "a .sql file beside lagar.yaml"]
    {
        assert!(warnings.contains(words), "{words}: {warnings}");
    }
    assert_eq!(checked.warnings.len(), 3, "{warnings}");
}

#[tokio::test]
async fn models_are_checked_although_the_project_file_cannot_be_read() {
    let folder = folder(&[
        ("lagar.yaml", "name: shop\nsources: [a, b\n"),
        ("trusted/a.sql", "SELECT x FROM raw.anything\n"),
        ("trusted/b.sql", "SELECT x FROM trusted.aa\n"),
    ]);
    let checked = check(folder.path()).await;
    let expected = [
        ("lagar.yaml:3:1", codes::YAML, "brackets"),
        ("trusted/b.sql:1:15", codes::SQL_UNKNOWN_TABLE, "did you mean `trusted.a`?"),
    ];
    assert_told(&checked, folder.path(), &expected);
}

#[tokio::test]
async fn a_time_zone_has_no_effect_yet_and_that_is_said() {
    let folder = folder(&[("lagar.yaml", "name: shop\ntimezone: America/Bogota\n")]);
    let checked = check(folder.path()).await;
    assert!(checked.problems.is_empty());
    assert!(checked.warnings[0].contains("`timezone` has no effect here"), "{:?}", checked.warnings);
    assert!(checked.warnings[0].contains("lagar.yaml:2:11"), "{:?}", checked.warnings);
    let folder = self::folder(&[("lagar.yaml", "name: shop\ntimezone: UTC\n")]);
    assert!(check(folder.path()).await.warnings.is_empty());
}

#[tokio::test]
async fn a_run_refuses_what_is_certain_to_fail_before_its_first_step() {
    let model = |columns: &str| format!("SELECT {columns} FROM raw.orders\n");
    let folder = folder(&[
        ("lagar.yaml", "name: shop\nsources:\n  orders: {type: file, url: orders.csv}\n"),
        ("orders.csv", "id,price\n1,2.5\n"),
        ("trusted/orders.sql", &model("id, price")),
        ("refined/top.sql", "SELECT id, prize FROM trusted.orders\n"),
    ]);
    let loads = || fs::read_dir(folder.path().join("lake/raw/orders/_loads")).map_or(0, Iterator::count);
    // Nothing is known yet: the first load runs, and its model; only then the column is seen to be missing.
    let report = run(folder.path()).await.unwrap();
    let failed: Vec<&str> =
        report.steps.iter().filter(|step| step.error.is_some()).map(|step| step.name.as_str()).collect();
    assert_eq!((failed, loads()), (vec!["refined.top"], 1));
    // Now it is known, and no step runs although the source has something new.
    write(folder.path(), "orders.csv", "id,price\n1,2.5\n2,3.5\n");
    let error = run(folder.path()).await.unwrap_err();
    assert_eq!((error.code(), loads()), (codes::SQL_UNKNOWN_COLUMN, 1));
    let hint = error.hint_text().unwrap();
    assert!(hint.contains("did you mean `price`?") && hint.contains("lagar run -s raw.orders"), "{hint}");
    assert!(error.place().unwrap().to_string().ends_with("refined/top.sql:1:12"));
    // A column like no other may come with the load, and it does.
    write(folder.path(), "refined/top.sql", "SELECT id, discount FROM trusted.orders\n");
    write(folder.path(), "trusted/orders.sql", &model("id, price, discount"));
    write(folder.path(), "orders.csv", "id,price,discount\n1,2.5,0.1\n");
    let report = run(folder.path()).await.unwrap();
    assert!(report.steps.iter().all(|step| step.error.is_none()), "{:#?}", report.steps);
    assert_eq!(loads(), 2);
}
