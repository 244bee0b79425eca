//! The sample project `sql/shop`, offline, as the README's first command runs it.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::support::{Place, step};

#[test]
fn one_command_builds_the_lake() {
    let place = Place::sample("shop");
    let report = place.run(&[]);
    assert_eq!(report["status"], "ok");
    assert_eq!(report["release"], 1);
    for step in report["steps"].as_array().unwrap() {
        assert_eq!(step["status"], "ok", "{step}");
        assert!(step["rows_out"].as_u64().unwrap() > 0, "{step}");
        if step["kind"] == "load" {
            let sum = step["rows_out"].as_u64().unwrap() + step["rows_rejected"].as_u64().unwrap();
            assert_eq!(step["rows_in"].as_u64().unwrap(), sum, "{step}");
        }
    }
    // The sample's own figures, counted from its files by hand.
    let products: Vec<Value> = serde_json::from_slice(
        &fs::read(place.dir.path().join("data-samples/shop/api/products.json")).unwrap(),
    )
    .unwrap();
    let counted =
        place.rows("SELECT count(*) AS n, count(user_email) AS e, count(price) AS p FROM trusted.products");
    assert_eq!(counted, vec![json!({"n": products.len(), "e": products.len(), "p": products.len()})]);
    let titles = place.rows("SELECT count(*) AS n FROM trusted.products WHERE title <> trim(title)");
    assert_eq!(titles, vec![json!({"n": 0})]);
    let mut by_category = std::collections::BTreeMap::<String, (f64, u64)>::new();
    for product in &products {
        let entry = by_category.entry(product["category"].as_str().unwrap().to_owned()).or_default();
        entry.0 += product["price"].as_f64().unwrap();
        entry.1 += 1;
    }
    let rows =
        place.rows("SELECT category, avg_price, products_quant FROM refined.an_products ORDER BY category");
    assert_eq!(rows.len(), by_category.len());
    for (row, (category, (sum, count))) in rows.iter().zip(by_category) {
        assert_eq!(row["category"], category.as_str());
        assert_eq!(row["products_quant"], count);
        assert!((row["avg_price"].as_f64().unwrap() - sum / count as f64).abs() < 1e-9, "{row}");
    }
}

#[test]
fn raw_holds_the_bytes_as_received_and_no_password() {
    let place = Place::sample("shop");
    place.run(&[]);
    let sample = place.dir.path().join("data-samples/shop");
    let files = place.lake_files();
    let raw = |source: &str| {
        let mut found =
            files.iter().filter(|(path, _)| path.starts_with(&format!("raw/{source}/load_date=")));
        let (_, bytes) = found.next().unwrap();
        assert!(found.next().is_none(), "one file was expected");
        bytes.clone()
    };
    assert_eq!(raw("products"), fs::read(sample.join("api/products.json")).unwrap());
    assert_eq!(raw("cities"), fs::read(sample.join("cities.csv")).unwrap());
    let users = fs::read_to_string(sample.join("api/users.json")).unwrap();
    assert!(users.contains("password"), "the sample has something to redact");
    let passwords: Vec<String> = serde_json::from_str::<Vec<Value>>(&users)
        .unwrap()
        .iter()
        .map(|user| user["password"].as_str().unwrap().to_owned())
        .collect();
    for (path, bytes) in &files {
        for password in &passwords {
            let found = bytes.windows(password.len()).any(|part| part == password.as_bytes());
            assert!(!found, "{path} holds the password {password}");
        }
    }
}

#[test]
fn the_second_run_commits_nothing_and_says_why() {
    let place = Place::sample("shop");
    place.run(&[]);
    let before = place.lake_files();
    let done = place.lagar(&["run", "--json"]);
    done.says(0, &["nothing new", "unchanged"]);
    let report = done.json();
    assert_eq!(report["status"], "nothing_new");
    assert_eq!(report["release"], Value::Null);
    for step in report["steps"].as_array().unwrap() {
        assert_eq!(step["status"], "nothing_new", "{step}");
    }
    assert_eq!(place.lake_files(), before, "the lake was written to");
    assert_eq!(place.lagar(&["run", "--skip-exit-code", "99"]).code, 99);
}

#[test]
fn what_changed_is_loaded_and_only_what_needs_it_is_built() {
    let place = Place::sample("shop");
    place.run(&[]);
    let carts = place.dir.path().join("data-samples/shop/api/carts.json");
    let mut list: Vec<Value> = serde_json::from_slice(&fs::read(&carts).unwrap()).unwrap();
    let removed = list.pop().unwrap();
    fs::write(&carts, serde_json::to_vec(&list).unwrap()).unwrap();
    let report = place.run(&[]);
    assert_eq!(step(&report, "raw.carts")["version"], 2);
    assert_eq!(step(&report, "raw.products")["status"], "nothing_new");
    assert_eq!(step(&report, "trusted.cart_items")["status"], "ok");
    assert_eq!(step(&report, "trusted.orders")["status"], "nothing_new");
    assert_eq!(report["release"], 2);
    let id = removed["id"].as_i64().unwrap();
    assert!(place.rows(&format!("SELECT * FROM trusted.cart_items WHERE cart_id = {id}")).is_empty());
    // Both loads are still there.
    assert_eq!(place.rows("SELECT DISTINCT _load FROM raw.carts").len(), 2);
}

#[test]
fn a_rollback_makes_the_old_tables_current_and_holds() {
    let place = Place::sample("shop");
    place.run(&[]);
    let sum = "SELECT sum(revenue) AS revenue FROM refined.revenue_by_user";
    let first = place.rows(sum);
    let carts = place.dir.path().join("data-samples/shop/api/carts.json");
    fs::write(&carts, r#"[{"id":1,"userId":1,"date":"2024-03-02T00:00:00.000Z","products":[{"productId":1,"quantity":1}]}]"#).unwrap();
    place.run(&[]);
    assert_ne!(place.rows(sum), first);
    assert_eq!(place.lagar(&["releases", "rollback", "1"]).code, 0);
    assert_eq!(place.rows(sum), first);
    // The scheduler's next run must not bring back what somebody just took back.
    let done = place.lagar(&["run", "--json"]);
    done.says(0, &["held"]);
    assert_eq!(place.rows(sum), first);
    let releases = place.lagar(&["releases", "list", "--json"]).json();
    assert_eq!(releases.as_array().unwrap().len(), 3);
    assert_eq!(releases[2]["rollback_of"], 1);
    place.run(&["--full-refresh"]);
    assert_ne!(place.rows(sum), first, "asked for by name, it comes back");
    place.lagar(&["releases", "rollback", "77"]).says(2, &["no release 77"]);
}

#[test]
fn a_failed_check_keeps_the_old_version_and_shows_the_refused_one() {
    let place = Place::sample("shop");
    place.run(&[]);
    let before = place.rows("SELECT count(*) AS n FROM trusted.products");
    let products = place.dir.path().join("data-samples/shop/api/products.json");
    let text = fs::read_to_string(&products).unwrap();
    let mut list: Vec<Value> = serde_json::from_str(&text).unwrap();
    let twice = list[0].clone();
    list.push(twice);
    fs::write(&products, serde_json::to_vec(&list).unwrap()).unwrap();
    let done = place.lagar(&["run", "--json"]);
    done.says(1, &["unique", "trusted.products", "refused.trusted.products"]);
    let report = done.json();
    assert_eq!(report["release"], Value::Null);
    assert_eq!(step(&report, "refined.an_products")["status"], "upstream_failed");
    assert_eq!(step(&report, "trusted.orders")["status"], "nothing_new", "it does not read products");
    assert_eq!(place.rows("SELECT count(*) AS n FROM trusted.products"), before);
    let refused = place.rows("SELECT id FROM refused.trusted.products GROUP BY id HAVING count(*) > 1");
    assert_eq!(refused.len(), 1);
    // Mended, the next run goes on from there.
    fs::write(&products, text).unwrap();
    let report = place.run(&[]);
    assert_eq!(step(&report, "trusted.products")["status"], "ok");
    assert_eq!(place.rows("SELECT count(*) AS n FROM trusted.products"), before);
}

#[test]
fn a_part_can_be_selected() {
    let place = Place::sample("shop");
    let report = place.run(&["-s", "+refined.an_products"]);
    let names: Vec<&str> =
        report["steps"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        ["raw.products", "raw.users", "trusted.users", "trusted.products", "refined.an_products"]
    );
    place.lagar(&["run", "-s", "refined.an_product"]).says(2, &["an_product"]);
}

#[test]
fn unit_tests_of_the_models_pass_and_can_fail() {
    let place = Place::sample("shop");
    let done = place.lagar(&["test"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let path = Path::new("refined/an_products.sql");
    let text = fs::read_to_string(place.project.join(path)).unwrap();
    place.write("refined/an_products.sql", text.replace("avg(price)", "max(price)"));
    place.lagar(&["test"]).says(1, &["refined.an_products"]);
}

#[test]
fn the_history_is_made_again_from_the_lake() {
    let place = Place::sample("shop");
    let report = place.run(&[]);
    fs::remove_dir_all(place.project.join(".lagar")).unwrap();
    let runs = place.lagar(&["runs", "--json"]).json();
    assert_eq!(runs[0]["run_id"], report["run_id"]);
    assert_eq!(runs[0]["release"], 1);
    let steps = place.rows("SELECT name, rows_out FROM system.steps ORDER BY name");
    assert_eq!(steps.len(), report["steps"].as_array().unwrap().len());
}

#[test]
fn check_and_plan_read_no_data() {
    let place = Place::sample("shop");
    assert_eq!(place.lagar(&["check"]).code, 0);
    let plan = place.lagar(&["plan", "--json"]).json();
    assert!(plan["steps"].as_array().unwrap().iter().any(|step| step["action"] == "build"));
    assert!(!place.lake().join("raw").exists(), "planning loaded something");
    place.run(&[]);
    place.write("refined/wrong.sql", "-- Wrong.\nSELECT pricee FROM trusted.products\n");
    place.lagar(&["check"]).says(2, &["pricee", "refined/wrong.sql:2:8", "price"]);
}
