#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, path::Path};

use super::*;

fn write(folder: &Path, path: &str, text: &str) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        write(folder.path(), path, text);
    }
    folder
}

fn env(variables: &[(&str, &str)]) -> LoadOptions {
    LoadOptions::with_env(
        variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
    )
}

async fn load(folder: &tempfile::TempDir, options: LoadOptions) -> Result<Project> {
    Project::load(folder.path().to_str().unwrap(), options).await
}

fn setting(project: &Project, key: &str) -> (String, String) {
    let setting = project.settings().into_iter().find(|setting| setting.key == key);
    let setting = setting.unwrap_or_else(|| panic!("no {key} in {:#?}", project.settings()));
    (setting.value, setting.origin)
}

const LAYERS: &str = "\
name: shop
lake: ${LAKE:-./lake}
timezone: America/Bogota
limits: {memory: 1GiB, threads: \"${N}\"}
vars:
  api: file:here
  page: ${vars.api}/p
profiles:
  live: {vars: {api: \"https://a.example\"}, limits: {memory: 2GiB, concurrency: 8}}
sources:
  orders:
    type: file
    url: ${vars.page}/orders.csv
    max_rejected: ${REJECTED:-1%}
    tags: [daily]
";

#[tokio::test]
async fn layers_lie_over_each_other_and_every_value_knows_its_origin() {
    let folder = folder(&[
        ("lagar.yaml", LAYERS),
        (".env", "N=3\nLAKE=./from-dotenv\nLAGAR__LIMITS__SPILL=5GiB\nLAGAR__LIMITS__CONCURRENCY=2\n"),
    ]);
    let project = load(&folder, env(&[])).await.unwrap();
    assert_eq!(project.lake_url, "./from-dotenv");
    assert_eq!(project.timezone, chrono_tz::America::Bogota);
    assert_eq!(
        project.limits,
        LimitsConfig { memory: Some(1 << 30), spill: 5 << 30, threads: 3, concurrency: 2 }
    );
    assert_eq!(
        setting(&project, "sources.orders.url"),
        ("file:here/p/orders.csv".into(), "lagar.yaml:13".into())
    );
    assert_eq!(setting(&project, "limits.spill"), ("5GiB".into(), ".env LAGAR__LIMITS__SPILL".into()));
    assert_eq!(setting(&project, "dialect"), ("datafusion".into(), "default".into()));
    let common = &project.sources[&"orders".parse::<Name>().unwrap()].common;
    assert_eq!(common.max_rejected, MaxRejected::Share(0.01));
    assert_eq!(common.tags, ["daily"]);

    let mut options =
        env(&[("LAGAR__LIMITS__CONCURRENCY", "6"), ("LAKE", "s3://b/l"), ("LAGAR_PROFILE", "live")]);
    options.vars = vec![("page".into(), "literally ${this}".into())];
    let project = load(&folder, options).await.unwrap();
    assert_eq!(project.lake_url, "s3://b/l");
    assert_eq!(project.limits.memory, Some(2 << 30));
    assert_eq!(project.limits.concurrency, 6);
    assert_eq!(setting(&project, "limits.memory"), ("2GiB".into(), "profile live (lagar.yaml:9)".into()));
    assert_eq!(
        setting(&project, "limits.concurrency"),
        ("6".into(), "environment LAGAR__LIMITS__CONCURRENCY".into())
    );
    assert_eq!(setting(&project, "vars.page"), ("literally ${this}".into(), "flag --var".into()));
    assert_eq!(setting(&project, "sources.orders.url").0, "literally ${this}/orders.csv");
    assert_eq!(project.vars["api"], "https://a.example");
}

#[tokio::test]
async fn a_wrong_value_from_outside_names_where_it_came_from() {
    let folder = folder(&[("lagar.yaml", "name: shop\n")]);
    for (name, value, code, words) in [
        ("LAGAR__LIMITS__THREADS", "many", codes::CONFIG, "`limits.threads`"),
        ("LAGAR__LIMITS__THREDS", "2", codes::CONFIG_UNKNOWN, "`threds` is not a key"),
        ("LAGAR__LAEK", "x", codes::CONFIG_UNKNOWN, "`laek` is not a key"),
        ("LAGAR__PROFILES__LIVE__LAKE", "x", codes::CONFIG, "only be set in the project file"),
        ("LAGAR__NAME", "My Shop", codes::NAME, "`My Shop` is not a name"),
    ] {
        let error = load(&folder, env(&[(name, value)])).await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.message().contains(words), "{error}");
        assert_eq!(error.place().unwrap().to_string(), format!("the environment variable {name}"));
    }
}

#[tokio::test]
async fn a_profile_or_variable_that_does_not_exist_is_refused() {
    let folder = folder(&[("lagar.yaml", LAYERS)]);
    let options = LoadOptions { profile: Some("life".into()), ..env(&[("N", "1")]) };
    let error = load(&folder, options).await.unwrap_err();
    assert_eq!(error.hint_text(), Some("did you mean `live`?"));

    let options = LoadOptions { vars: vec![("apii".into(), "x".into())], ..env(&[("N", "1")]) };
    let error = load(&folder, options).await.unwrap_err();
    assert_eq!((error.code(), error.hint_text()), (codes::USAGE, Some("did you mean `api`?")));
}

#[tokio::test]
async fn nothing_shown_of_a_project_holds_a_secret() {
    let text = "\
name: shop
vars: {login: \"me:${DB_PASSWORD}\"}
sources:
  orders: {type: sql, url: \"postgres://${vars.login}@db/shop\", table: orders}
  calls:
    type: rest
    url: https://a.example/${API_TOKEN}/calls
    headers: {X-App-Token: \"${API_TOKEN}\", X-Pin: \"a ${PIN_SECRET} b\"}
    auth: {basic: {user: me, password: \"${DB_PASSWORD}\"}}
";
    let folder = folder(&[("lagar.yaml", text), (".env", "DB_PASSWORD=12345678\n")]);
    let options = env(&[("API_TOKEN", "tok-abcdef"), ("PIN_SECRET", "77")]);
    let project = load(&folder, options).await.unwrap();
    let shown = format!("{:?} {project:?}", project.settings());
    for secret in ["12345678", "tok-abcdef", "77"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    assert_eq!(setting(&project, "sources.calls.url").0, "https://a.example/***/calls");
    assert_eq!(project.secrets.text("failed with tok-abcdef"), "failed with ***");
}

#[tokio::test]
async fn an_error_about_a_secret_does_not_tell_it() {
    let text = "name: shop\nsources:\n  calls: {type: rest, url: x, timeout: \"${MY_SECRET}\"}\n";
    let folder = folder(&[("lagar.yaml", text)]);
    let error = load(&folder, env(&[("MY_SECRET", "hunter2hunter2")])).await.unwrap_err();
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    assert_eq!(error.place().unwrap().line, 3);
}

#[tokio::test]
async fn the_hash_follows_the_configuration_and_not_its_secrets() {
    let text = "name: shop\nlake: ${LAKE:-a}\nsources:\n  s: {type: rest, url: 'https://a.example', headers: {X-Token: \"${TOKEN}\"}}\n";
    let folder = folder(&[("lagar.yaml", text)]);
    let hash = async |variables: &[(&str, &str)]| load(&folder, env(variables)).await.unwrap().config_hash;
    let first = hash(&[("TOKEN", "one-token")]).await;
    assert_eq!(first, hash(&[("TOKEN", "other-token")]).await);
    assert_ne!(first, hash(&[("TOKEN", "one-token"), ("LAKE", "b")]).await);
}

#[tokio::test]
async fn models_are_found_by_their_place() {
    let folder = folder(&[
        ("lagar.yaml", "name: shop\n"),
        ("trusted/orders.sql", "SELECT 1 AS a"),
        ("trusted/sales/by_day.sql", "SELECT a FROM trusted.orders"),
        ("refined/top.sql", "SELECT a FROM trusted.by_day"),
        ("refined/.hidden.sql", "nothing"),
        ("refined/notes.txt", "nothing"),
        ("other/x.sql", "nothing"),
    ]);
    #[cfg(unix)]
    std::os::unix::fs::symlink(
        folder.path().join("trusted/orders.sql"),
        folder.path().join("refined/linked.sql"),
    )
    .unwrap();
    let project = load(&folder, env(&[])).await.unwrap();
    let names: Vec<String> = project.models.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["trusted.by_day", "trusted.orders", "refined.top"]);
    #[cfg(unix)]
    assert!(project.notes[0].contains("linked.sql"), "{:?}", project.notes);
    assert_eq!(project.state_dir().unwrap(), folder.path().join(".lagar"));
}

#[tokio::test]
async fn two_files_for_one_table_and_names_that_are_none() {
    let folder = folder(&[
        ("lagar.yaml", "name: shop\n"),
        ("trusted/a/orders.sql", "SELECT 1 AS a"),
        ("trusted/b/orders.sql", "SELECT 1 AS a"),
        ("refined/Orders.sql", "SELECT 1 AS a"),
    ]);
    let error = load(&folder, env(&[])).await.unwrap_err();
    let all: Vec<&Error> = error.each().collect();
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(all.iter().all(|error| error.code() == codes::NAME));
    let said = format!("{} {}", all[0], all[1]);
    for words in
        ["`Orders` is not a name", "`trusted.orders` is made by two files", "a/orders.sql", "b/orders.sql"]
    {
        assert!(said.contains(words), "{words} in {said}");
    }
    assert!(all.iter().any(|error| error.place().unwrap().file.ends_with("refined/Orders.sql")), "{all:?}");
}

#[tokio::test]
async fn a_project_that_is_not_there_is_looked_for_nearby() {
    let folder = folder(&[
        ("sql/shop/lagar.yaml", "name: shop\n"),
        ("sql/air/lagar.yaml", "name: air\n"),
        ("sql/x/y", ""),
    ]);
    let path = |below: &str| folder.path().join(below).to_str().unwrap().to_owned();
    for (location, words) in [
        ("sql/shp", format!("did you mean {}?", path("sql/shop"))),
        ("sql/weather", format!("there is {}, {}", path("sql/air"), path("sql/shop"))),
        ("sql", format!("there is {}, {}", path("sql/air"), path("sql/shop"))),
        ("", format!("there is {}, {}", path("sql/air"), path("sql/shop"))),
        ("sql/x", "lagar init NAME".to_owned()),
        ("new/thing", "lagar init thing".to_owned()),
        ("sql/shop/lagar.yaml", format!("give the folder: {}", path("sql/shop"))),
    ] {
        let error = Project::load(&path(location), env(&[])).await.unwrap_err();
        assert_eq!(error.code(), codes::PROJECT_MISSING, "{location}: {error}");
        let hint = error.hint_text().unwrap_or_default();
        assert!(hint.contains(&words), "{location}: {hint}");
    }
}

const MODEL: &str = "SELECT a FROM trusted.products";

#[tokio::test]
async fn tests_of_models_are_read() {
    let text = "\
model: refined.top
tests:
  one:
    given: {trusted.products: [{a: 1}, {a: 2}]}
    expect: [{a: 1}]
  two: {given: {trusted.products: []}, expect: [], ordered: true}
";
    let folder = folder(&[
        ("lagar.yaml", "name: shop\n"),
        ("trusted/products.sql", "SELECT 1 AS a"),
        ("refined/top.sql", MODEL),
        ("tests/top.yaml", text),
    ]);
    let project = load(&folder, env(&[])).await.unwrap();
    let test = &project.tests[0];
    assert_eq!(test.model.to_string(), "refined.top");
    assert_eq!(
        test.cases.iter().map(|case| (case.name.as_str(), case.ordered)).collect::<Vec<_>>(),
        [("one", false), ("two", true)]
    );
    assert_eq!(test.cases[0].given[&"trusted.products".parse().unwrap()].len(), 2);
    assert_eq!((test.cases[1].place.line, test.cases[1].place.column), (6, 3));
}

#[tokio::test]
async fn a_broken_test_is_named_at_its_place() {
    let case =
        |given: &str| format!("model: refined.top\ntests:\n  one:\n    given: {given}\n    expect: []\n");
    for (text, place, words) in [
        (
            "model: refined.tip\ntests: {a: {given: {}, expect: []}}\n".to_owned(),
            "1:8",
            "did you mean `refined.top`?",
        ),
        ("model: refined.top\ntests: {}\n".to_owned(), "2:1", "no test"),
        ("model: refined.top\ntest: {}\n".to_owned(), "2:1", "did you mean `tests`?"),
        (case("{trusted.product: []}"), "4:13", "did you mean `trusted.products`?"),
        (case("{}"), "4:5", "gives no rows for `trusted.products`"),
        (case("{trusted.products: [1]}"), "4:32", "must be a map"),
        (case("{trusted.products: []}").replace("expect", "expected"), "5:5", "did you mean `expect`?"),
    ] {
        let folder = folder(&[
            ("lagar.yaml", "name: shop\n"),
            ("trusted/products.sql", "SELECT 1 AS a"),
            ("refined/top.sql", MODEL),
            ("tests/top.yaml", &text),
        ]);
        let error = load(&folder, env(&[])).await.unwrap_err();
        let shown = error.place().unwrap().to_string();
        let all: Vec<String> =
            error.each().map(|e| format!("{e} {}", e.hint_text().unwrap_or_default())).collect();
        assert!(shown.ends_with(&format!("tests/top.yaml:{place}")), "{shown} for {text}: {all:?}");
        assert!(all.join(" ").contains(words), "{all:?}");
    }
}

#[tokio::test]
async fn paths_of_a_project_in_a_store_start_at_the_project() {
    let text = "\
name: shop
sources:
  cities: {type: file, url: ../../data/cities.csv, in_place: true}
  days: {type: file, url: days/*.csv}
  local: {type: file, url: /data/x.csv}
  orders: {type: sql, url: 'sqlite:/data/shop.db', table: orders}
";
    let files = |text: &str| {
        let shown = "s3://bucket/projects/shop/lagar.yaml".to_owned();
        let project = TextFile { path: "lagar.yaml".to_owned(), shown, text: text.to_owned() };
        ProjectFiles { dir: None, project, env: None, models: vec![], tests: vec![], notes: vec![] }
    };
    let load = |text: &str| {
        let mut files = files(text);
        Project::of_files("s3://bucket/projects/shop", &mut files, env(&[]), Vec::new()).unwrap().finished()
    };
    let project = load(text).unwrap();
    let address = |name: &str| project.sources[&name.parse::<Name>().unwrap()].source.address();
    assert_eq!(address("cities"), "s3://bucket/data/cities.csv");
    assert_eq!(address("days"), "s3://bucket/projects/shop/days/*.csv");
    assert_eq!(address("local"), "/data/x.csv");
    assert_eq!(address("orders"), "sqlite:/data/shop.db#orders");
    assert_eq!(project.lake_url, "s3://bucket/projects/shop/lake");
    // What is shown is what is written.
    assert_eq!(setting(&project, "sources.cities.url").0, "../../data/cities.csv");
    let error = load(
        "name: shop\nlake: ../../../x\nsources:\n  orders: {type: sql, url: 'sqlite:shop.db', tabel: orders}\n  \
         products: {type: rest, url: 'file:api/products'}\n",
    )
    .unwrap_err();
    let places: Vec<String> = error.each().map(|e| e.place().unwrap().to_string()).collect();
    let shop = "s3://bucket/projects/shop/lagar.yaml";
    assert_eq!(
        places,
        [format!("{shop}:2:7"), format!("{shop}:4:28"), format!("{shop}:4:46"), format!("{shop}:5:31")]
    );
}
