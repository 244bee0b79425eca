//! Broken projects: each must be refused with the place of the fault, its code, and words that help.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{collections::BTreeMap, fs, path::Path};

use lagar_flow::{Code, Error, codes};
use lagar_orchestrate::{LoadOptions, Project};

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
    Broken("name: shop\npredictors: {}\n", "2:1", codes::CONFIG_LATER, "`predictors` is not supported yet"),
    Broken("name: shop\nschedules: []\n", "2:1", codes::CONFIG_LATER, "`schedules` is not supported yet"),
    Broken("name: shop\ndialect: spark\n", "2:10", codes::CONFIG_LATER, "spark"),
    Broken("name: shop\ndialect: mysql\n", "2:10", codes::CONFIG, "`mysql` is not a dialect"),
    Broken("name: shop\ntimezone: America/Bogata\n", "2:11", codes::CONFIG, "did you mean `America/Bogota`?"),
    Broken("name: shop\ntimezone: noon\n", "2:11", codes::CONFIG, "`noon` is not a time zone"),
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
        "name: shop\nsources:\n  orders:\n    type: file\n    url: a.csv\n    schema: freeze\n",
        "6:13",
        codes::CONFIG_LATER,
        "`freeze` is not supported yet",
    ),
    Broken(
        "name: shop\nsources:\n  orders:\n    type: file\n    url: a.csv\n    csv: {delimeter: ';'}\n",
        "6:11",
        codes::CONFIG_UNKNOWN,
        "did you mean `delimiter`?",
    ),
    Broken(
        "name: shop\nsources:\n  calls:\n    type: rest\n    url: https://a.example\n    window: {size: 1d}\n",
        "6:13",
        codes::CONFIG_LATER,
        "`window` is not supported yet",
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

#[tokio::test]
async fn all_problems_are_found_at_once() {
    let text = "name: Shop\nlaek: x\nlimits: {threads: 0, memry: 1GiB, spill: lots}\nsources:\n  a: {type: file, url: [1], colums: {}}\n  b: {type: nothing}\n";
    let (found, _folder) = problems(text, Some("SELEC 1\n")).await;
    let mut lines: Vec<(String, usize, usize)> = found
        .iter()
        .map(|error| {
            let place = error.place().unwrap();
            let file = Path::new(&place.file).file_name().unwrap().to_string_lossy().into_owned();
            (file, place.line, place.column)
        })
        .collect();
    lines.sort();
    let expected = [
        ("broken.sql", 1, 1),
        ("lagar.yaml", 1, 7),
        ("lagar.yaml", 2, 1),
        ("lagar.yaml", 3, 19),
        ("lagar.yaml", 3, 22),
        ("lagar.yaml", 3, 42),
        ("lagar.yaml", 5, 24),
        ("lagar.yaml", 5, 29),
        ("lagar.yaml", 6, 13),
    ];
    assert_eq!(lines, expected.map(|(file, line, column)| (file.to_owned(), line, column)), "{found:#?}");
}
