//! `lagar lineage`: tables, columns, formats; and what `system.steps` says of each step.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Place, files_below, step};

fn names(found: &Value, key: &str) -> Vec<String> {
    found[key].as_array().unwrap().iter().map(|node| node["table"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn tables_are_drawn_upstream_and_downstream() {
    let place = Place::sample("shop");
    // Before anything ran: what reads what is known.
    let before = place.lagar(&["lineage", "refined.sales_by_region"]);
    before.says(0, &[]);
    for part in ["not released", "no load yet", "file ", "cities.csv"] {
        assert!(before.stdout.contains(part), "`{part}` is not in\n{}", before.stdout);
    }
    assert!(!place.project.join(".lagar/history.db").exists(), "who only looks makes no history");
    place.run(&[]);
    let done = place.lagar(&["lineage", "refined.sales_by_region"]);
    done.says(0, &[]);
    assert!(done.stdout.starts_with("refined.sales_by_region"), "{}", done.stdout);
    for part in [
        "├─ trusted.cities",
        "│  └─ raw.cities",
        "└─ trusted.products",
        "   └─ trusted.users",
        "version 0 of ",
        " rows",
        "(as above)",
        "sql sqlite:",
    ] {
        assert!(done.stdout.contains(part), "`{part}` is not in\n{}", done.stdout);
    }
    let down = place.lagar(&["lineage", "raw.users", "--down", "--json"]).json();
    assert_eq!(down["direction"], "down");
    assert_eq!(
        names(&down, "tables"),
        [
            "raw.users",
            "trusted.cart_items",
            "trusted.products",
            "trusted.users",
            "refined.an_products",
            "refined.model_summary",
            "refined.price_correlations",
            "refined.product_groups",
            "refined.revenue_by_category",
            "refined.revenue_by_user",
            "refined.sales_by_region"
        ]
    );
    let up = place.lagar(&["lineage", "trusted.cart_items", "--json"]).json();
    let edge = |from: &str| {
        let edges = up["edges"].as_array().unwrap();
        edges.iter().find(|edge| edge["from"] == from && edge["to"] == "trusted.cart_items").unwrap().clone()
    };
    assert_eq!(
        edge("raw.carts"),
        json!({"from": "raw.carts", "to": "trusted.cart_items", "by": "reads", "used": 1})
    );
    assert_eq!(edge("trusted.users")["by"], "checks");
    let source = up["tables"].as_array().unwrap().iter().find(|node| node["table"] == "raw.carts").unwrap();
    assert_eq!(
        (&source["source"], &source["version"], &source["last_run"]["status"]),
        (&json!("rest"), &json!(1), &json!("ok"))
    );

    let all = place.lagar(&["lineage"]);
    all.says(0, &[]);
    for table in ["refined.an_products", "refined.revenue_by_user", "raw.orders"] {
        assert!(all.stdout.contains(table), "{}", all.stdout);
    }
    let mermaid = place.lagar(&["lineage", "trusted.users", "--format", "mermaid"]).stdout;
    assert_eq!(mermaid, "flowchart LR\n  n0[\"raw.users\"]\n  n1[\"trusted.users\"]\n  n0 --> n1\n");
    let dot = place.lagar(&["lineage", "trusted.users", "--format", "dot"]).stdout;
    assert!(dot.contains("n0 [label=\"raw.users\"];") && dot.contains("n0 -> n1;"), "{dot}");
    place.lagar(&["lineage", "trusted.user"]).says(1, &["did you mean `trusted.users`?"]);
}

#[test]
fn a_table_that_no_model_makes_any_more_still_has_its_inputs() {
    let place = Place::sample("shop");
    place.run(&["-s", "+trusted.users"]);
    fs::remove_file(place.project.join("trusted/users.sql")).unwrap();
    fs::remove_dir_all(place.project.join("tests")).unwrap(); // they name the model
    let up = place.lagar(&["lineage", "trusted.users", "--json"]).json();
    assert_eq!(names(&up, "tables"), ["raw.users", "trusted.users"]);
}

#[test]
fn columns_are_followed_through_all_models() {
    let place = Place::sample("shop");
    place
        .lagar(&["lineage", "refined.sales_by_region", "-c", "revenue"])
        .says(1, &["no load yet", "lagar run -s raw."]);
    place.run(&[]);
    // Without its files nothing of a table can be read: a lineage needs none of them.
    for folder in fs::read_dir(place.lake().join("raw")).unwrap() {
        for entry in fs::read_dir(folder.unwrap().path()).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name().to_str().unwrap().starts_with("load_date") {
                fs::remove_dir_all(entry.path()).unwrap();
            }
        }
    }
    let done = place.lagar(&["lineage", "refined.sales_by_region", "--column", "list_revenue"]);
    done.says(0, &[]);
    for part in [
        "refined.sales_by_region.list_revenue",
        "= coalesce(sum(sales.list_total), 0)",
        "sales.list_total = (products.price * orders.quantity)",
        "├─ trusted.orders.quantity",
        "└─ trusted.products.price",
        "   └─ raw.products.price",
        "= CAST(catalogue.price AS DOUBLE)",
    ] {
        assert!(done.stdout.contains(part), "`{part}` is not in\n{}", done.stdout);
    }
    let found = place.lagar(&["lineage", "refined.sales_by_region", "-c", "orders", "--json"]).json();
    let columns: Vec<String> = found["columns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| format!("{}.{}", column["table"].as_str().unwrap(), column["column"].as_str().unwrap()))
        .collect();
    assert_eq!(columns, ["raw.orders.id", "refined.sales_by_region.orders", "trusted.orders.id"]);
    let down = place.lagar(&["lineage", "raw.users", "-c", "email", "--down"]);
    down.says(0, &[]);
    for part in ["raw.users.email", "└─ trusted.users.email", "= lower(", "trusted.products.user_email"] {
        assert!(down.stdout.contains(part), "`{part}` is not in\n{}", down.stdout);
    }
    place
        .lagar(&["lineage", "trusted.users", "-c", "emial"])
        .says(2, &["no column `emial`", "did you mean `email`?"]);
}

#[test]
fn every_step_says_where_it_comes_from() {
    let place = Place::sample("shop");
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let git = place.dir.path().join(".git");
    fs::create_dir_all(git.join("refs/heads")).unwrap();
    fs::write(git.join("HEAD"), "ref: refs/heads/main\n").unwrap();
    fs::write(git.join("refs/heads/main"), format!("{commit}\n")).unwrap();
    let report = place.run(&["-s", "+trusted.users", "--var", "api=file:../../data-samples/shop/api"]);
    let made = step(&report, "trusted.users");
    assert_eq!((&made["inputs"], &made["code_version"]), (&json!({"raw.users": 1}), &json!(commit)));
    assert_eq!(made["parameters"]["select"], json!(["+trusted.users"]));
    assert_eq!(made["parameters"]["vars"]["api"], "file:../../data-samples/shop/api");
    assert!(made["machine"].as_str().is_some_and(|machine| !machine.is_empty()));

    let sql =
        "SELECT name, inputs, code_version, code_hash, schema_hash, machine FROM system.steps ORDER BY name";
    let before = place.rows(sql);
    assert_eq!((before.len(), &before[1]["inputs"]), (2, &json!("{\"raw.users\":1}")));
    for row in &before {
        assert_eq!(row["code_version"], commit);
        assert_eq!(row["schema_hash"].as_str().unwrap().len(), 64);
    }
    // A column more is another schema, another text of the model another code, the same load.
    let model = place.project.join("trusted/users.sql");
    let text = fs::read_to_string(&model).unwrap();
    fs::write(&model, text.replace("    username,\n", "    username,\n    id AS again,\n")).unwrap();
    place.run(&["-s", "trusted.users"]);
    let after = place.rows("SELECT inputs, code_hash, schema_hash FROM system.steps WHERE name = 'trusted.users' ORDER BY started_at DESC LIMIT 1");
    assert_eq!(after[0]["inputs"], before[1]["inputs"]);
    assert_ne!(after[0]["code_hash"], before[1]["code_hash"]);
    assert_ne!(after[0]["schema_hash"], before[1]["schema_hash"]);

    // What the lake knows comes back when the history is lost; the machine is nowhere else.
    fs::remove_dir_all(place.project.join(".lagar")).unwrap();
    let rebuilt = place.rows("SELECT name, inputs, code_version, code_hash, schema_hash FROM system.steps WHERE version = 0 AND kind = 'model'");
    assert_eq!(rebuilt.len(), 1);
    for key in ["name", "inputs", "code_version", "code_hash", "schema_hash"] {
        assert_eq!(rebuilt[0][key], before[1][key], "{key}");
    }
    // For outside readers of files.
    let file = place.dir.path().join("steps.parquet");
    place.lagar(&["sql", "SELECT * FROM system.steps", "-o", file.to_str().unwrap()]).says(0, &["3 rows"]);
    assert!(fs::read(&file).unwrap().starts_with(b"PAR1"));
}

#[test]
fn a_secret_in_a_variable_is_in_no_step() {
    let yaml = "name: s\nvars: {token: none, day: x}\nsources:\n  items:\n    type: rest\n    url: http://127.0.0.1:9/${vars.day}\n    auth: {bearer: \"${vars.token}\"}\n    retry: {attempts: 1}\n";
    let place = Place::project(&[("lagar.yaml", yaml)]);
    let done = place.lagar(&["run", "--var", "token=s3cr3t-t0k3n", "--var", "day=monday", "--json"]);
    let items = step(&done.json(), "raw.items").clone();
    assert_eq!(items["parameters"]["vars"]["day"], "monday", "{items}");
    assert!(!done.stdout.contains("s3cr3t") && !done.stderr.contains("s3cr3t"), "{}", done.stdout);
    for file in files_below(&place.project.join(".lagar")) {
        let bytes = fs::read(&file).unwrap();
        assert!(!bytes.windows(6).any(|part| part == b"s3cr3t"), "{}", file.display());
    }
}

#[test]
fn steps_are_a_table_for_readers_of_the_lake() {
    let (mut rows, reading) = (0, "SELECT id FROM raw.a WHERE _newest");
    let yaml = "name: p\nsteps_table: refined.etl_execution\nsources: {a: {type: file, url: a.csv}}\n";
    let place = Place::project(&[("lagar.yaml", yaml), ("trusted/t.sql", reading), ("a.csv", "id\n1\n")]);
    let mut grow = |place: &Place| {
        rows += 1;
        place.write("a.csv", format!("id\n{}", "1\n".repeat(rows)));
    };
    let steps = |place: &Place| {
        let sql = "SELECT name, status, rows_out FROM refined.etl_execution ORDER BY started_at, name";
        let of = |row: &Value| {
            (row["name"].as_str().unwrap().to_owned(), row["status"].clone(), row["rows_out"].clone())
        };
        place.rows(sql).iter().map(of).collect::<Vec<_>>()
    };
    let report = place.run(&[]);
    let made = step(&report, "refined.etl_execution");
    assert_eq!((&made["status"], &made["rows_out"], &made["version"]), (&json!("ok"), &json!(2), &json!(0)));
    let first: Vec<_> = ["raw.a", "trusted.t"].map(|name| (name.to_owned(), json!("ok"), json!(1))).into();
    assert_eq!(steps(&place), first);

    // Nothing new: nothing is written, and the steps that found so come with the next release.
    let lake = place.lake_files();
    place.run(&[]);
    assert!(place.lake_files() == lake);
    // So do those of a run that failed.
    place.write("trusted/t.sql", "SELECT id / 0 AS id FROM raw.a WHERE _newest");
    place.lagar(&["run"]).says(1, &[]);
    place.write("trusted/t.sql", reading);
    grow(&place);
    grow(&place);
    place.run(&[]);
    let now = steps(&place);
    assert_eq!(now[..2], first);
    let of = |status: &str| now.iter().filter(|(_, found, _)| found == status).count();
    assert_eq!((now.len(), of("ok"), of("nothing_new"), of("failed")), (8, 4, 3, 1), "{now:#?}");

    // The rows outlive the history, and a rollback brings back those of its release.
    fs::remove_dir_all(place.project.join(".lagar")).unwrap();
    grow(&place);
    place.run(&[]);
    assert_eq!(steps(&place)[..8], now);
    assert_eq!(steps(&place).len(), 10);
    place.lagar(&["releases", "rollback", "1"]).says(0, &[]);
    assert_eq!(steps(&place), first);

    // What was in a table before is not mixed with steps.
    place.write("refined/r.sql", "SELECT 'x' AS run_id");
    place.write("lagar.yaml", "name: p\nsources: {a: {type: file, url: a.csv}}\n");
    place.run(&[]);
    fs::remove_file(place.project.join("refined/r.sql")).unwrap();
    place.write("lagar.yaml", yaml.replace("etl_execution", "r"));
    grow(&place);
    place.lagar(&["run"]).says(1, &["`refined.r` is there already, and is no table of steps"]);
    assert_eq!(place.rows("SELECT * FROM refined.r"), [json!({"run_id": "x"})]);

    for (table, wanted) in [
        ("trusted.steps", "is not in `refined`"),
        ("steps", "steps_table"),
        ("refined.r", "is the table of a model"),
    ] {
        place.write("refined/r.sql", "SELECT 1 AS one");
        place.write("lagar.yaml", format!("name: p\nsteps_table: {table}\n"));
        place.lagar(&["check"]).says(2, &[wanted, "lagar.yaml:2:"]);
    }
}
