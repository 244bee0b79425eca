//! Others read the lake without Lagar: the same rows and sums by deltalake, pyarrow, DuckDB and Polars.

use std::process::Command;

use crate::support::{Place, python, root};

#[test]
fn other_readers_see_the_same_rows_and_sums() {
    let Some(python) = python() else {
        println!("skipped: LAGAR_TEST_PYTHON is not set");
        return;
    };
    let place = Place::sample("shop");
    place.run(&[]);
    // A second load and release, so that the log has removed files which readers must not count.
    let carts = place.dir.path().join("data-samples/shop/api/carts.json");
    let mut list: Vec<serde_json::Value> = serde_json::from_slice(&std::fs::read(&carts).unwrap()).unwrap();
    list.truncate(list.len() / 2);
    std::fs::write(&carts, serde_json::to_vec(&list).unwrap()).unwrap();
    place.run(&[]);

    let tables = [
        ("trusted/products", "SELECT count(*) AS rows, sum(price) AS total FROM trusted.products", "price"),
        (
            "trusted/cart_items",
            "SELECT count(*) AS rows, sum(quantity) AS total FROM trusted.cart_items",
            "quantity",
        ),
        (
            "trusted/orders",
            "SELECT count(*) AS rows, CAST(sum(total) AS DOUBLE) AS total FROM trusted.orders",
            "total",
        ),
        (
            "refined/an_products",
            "SELECT count(*) AS rows, sum(avg_price) AS total FROM refined.an_products",
            "avg_price",
        ),
        (
            "refined/revenue_by_user",
            "SELECT count(*) AS rows, sum(revenue) AS total FROM refined.revenue_by_user",
            "revenue",
        ),
    ];
    for (folder, sql, column) in tables {
        let ours = &place.rows(sql)[0];
        let output = Command::new(&python)
            .arg(root().join("tests/readers.py"))
            .arg(place.lake().join(folder))
            .arg(column)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.lines().count(), 4, "four readers: {text}");
        for line in text.lines() {
            let theirs: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(theirs["rows"], ours["rows"], "{folder}: {line}");
            let (a, b) = (theirs["total"].as_f64().unwrap(), ours["total"].as_f64().unwrap());
            assert!((a - b).abs() <= 1e-9 * a.abs().max(1.0), "{folder}: {line}, ours {b}");
        }
    }
}
