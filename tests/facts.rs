//! The sample project pointed at the recorded answers of the real API, served by a plain HTTP server,
//! gives the figures that other tools gave for them.

use std::fs;

use serde_json::{Value, json};

use crate::support::{
    Place, fixtures,
    http::{self, Server},
    step,
};

fn close(got: &Value, wanted: f64) -> bool {
    got.as_f64().is_some_and(|got| (got - wanted).abs() <= 1e-9 * wanted.abs())
}

#[test]
fn the_recorded_answers_give_the_known_figures() {
    let Some(fixtures) = fixtures() else {
        println!("skipped: LAGAR_FIXTURES is not set");
        return;
    };
    let server = Server::start();
    for name in ["products", "users", "carts"] {
        let body = fs::read(fixtures.join(format!("fakestore_{name}.json"))).unwrap();
        server.on(&format!("/{name}"), vec![http::json(body)]);
    }
    let place = Place::sample("shop");
    let api = format!("api={}", server.url);
    // The sample's orders name products and cities of the sample: here only the API counts.
    let select = [
        "--var",
        &api,
        "-s",
        "+refined.an_products +refined.revenue_by_category",
        "-s",
        "+refined.revenue_by_user",
    ];
    let report = place.run(&select);
    assert_eq!(report["status"], "ok", "{report}");

    // A1: raw has the payload byte for byte.
    let payload = fs::read(fixtures.join("fakestore_products.json")).unwrap();
    let raw: Vec<_> = place
        .lake_files()
        .into_iter()
        .filter(|(path, _)| path.starts_with("raw/products/load_date="))
        .collect();
    assert_eq!(raw.len(), 1);
    assert_eq!(raw[0].1, payload);

    // A2
    let rows = place.rows("SELECT count(*) AS n, count(user_name) AS u, count(user_email) AS e, min(price) AS lo, max(price) AS hi FROM trusted.products");
    assert_eq!(rows, vec![json!({"n": 20, "u": 20, "e": 20, "lo": 7.95, "hi": 999.99})]);

    // A3
    let rows =
        place.rows("SELECT category, avg_price, products_quant FROM refined.an_products ORDER BY category");
    let expected = [
        ("electronics", 332.49833333333333, 6),
        ("jewelery", 220.995, 4),
        ("men's clothing", 51.0575, 4),
        ("women's clothing", 26.286666666666665, 6),
    ];
    assert_eq!(rows.len(), expected.len());
    for (row, (category, average, count)) in rows.iter().zip(expected) {
        assert!(
            row["category"] == category
                && close(&row["avg_price"], average)
                && row["products_quant"] == count,
            "{row}"
        );
    }

    // A4
    let rows =
        place.rows("SELECT category, units, revenue FROM refined.revenue_by_category ORDER BY category");
    let expected = [
        ("electronics", 6, 624.0),
        ("jewelery", 4, 1410.98),
        ("men's clothing", 31, 2646.44),
        ("women's clothing", 1, 9.85),
    ];
    assert_eq!(rows.len(), expected.len());
    for (row, (category, units, revenue)) in rows.iter().zip(expected) {
        assert!(
            row["category"] == category && row["units"] == units && close(&row["revenue"], revenue),
            "{row}"
        );
    }
    let rows = place.rows("SELECT user_id, revenue FROM refined.revenue_by_user ORDER BY user_id");
    let expected = [(1, 3376.74), (2, 283.90), (3, 460.78), (4, 560.0), (8, 9.85)];
    assert_eq!(rows.len(), expected.len());
    for (row, (user, revenue)) in rows.iter().zip(expected) {
        assert!(row["user_id"] == user && close(&row["revenue"], revenue), "{row}");
    }

    // A6: unchanged answers change nothing; a null answer fails and leaves the tables.
    let again = place.lagar(&[&["run", "--json"], select.as_slice()].concat());
    assert_eq!(again.json()["status"], "nothing_new", "{}", again.stderr);
    server.on("/products", vec![http::json("null")]);
    let failed = place.lagar(&[&["run", "--json"], select.as_slice()].concat());
    failed.says(1, &["products"]);
    assert_eq!(step(&failed.json(), "raw.products")["status"], "failed");
    assert_eq!(place.rows("SELECT count(*) AS n FROM trusted.products"), vec![json!({"n": 20})]);
    server.on("/products", vec![http::status(500)]);
    let slow = ["--var", &api, "-s", "raw.users"];
    assert_eq!(place.lagar(&[&["run"], slow.as_slice()].concat()).code, 0, "the other sources go on");
}
