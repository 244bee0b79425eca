//! `kill -9` anywhere, then the same command again: complete, and nothing twice.

use std::{thread, time::Duration};

use crate::support::Place;

const SUMS: &str = "SELECT \
    (SELECT count(*) FROM raw.orders) AS raw_orders, (SELECT count(*) FROM raw.products) AS raw_products, \
    (SELECT count(*) FROM trusted.products) AS products, (SELECT count(*) FROM trusted.orders) AS orders, \
    (SELECT sum(revenue) FROM refined.revenue_by_user) AS revenue, (SELECT sum(units) FROM refined.sales_by_region) AS units";

/// Kills at moments spread over the whole run; with `LAGAR_LONG=1` at many more.
#[test]
fn killed_anywhere_the_next_run_completes() {
    let whole = Place::sample("shop");
    let started = std::time::Instant::now();
    whole.run(&[]);
    let length = started.elapsed();
    let expected = whole.rows(SUMS);

    let kills: u32 = if std::env::var_os("LAGAR_LONG").is_some() { 200 } else { 12 };
    let mut killed = 0;
    for kill in 0..kills {
        let place = Place::sample("shop");
        let mut child = place.command(&["run", "-q"]).spawn().unwrap();
        let moment = length * (kill + 1) / (kills + 1);
        thread::sleep(moment.max(Duration::from_millis(1)));
        killed += u32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        place.run(&[]);
        assert_eq!(place.rows(SUMS), expected, "killed after {moment:?}");
        let releases = place.lagar(&["releases", "list", "--json"]).json();
        assert_eq!(releases.as_array().unwrap().len(), 1, "killed after {moment:?}: {releases}");
        let scratch = std::fs::read_dir(place.project.join(".lagar/tmp")).into_iter().flatten().count();
        assert_eq!(scratch, 0, "temporary files were left behind");
    }
    assert!(killed >= kills / 2, "only {killed} of {kills} were killed while they ran");
}

/// The first signal stops in order; the run can be continued.
#[test]
fn a_signal_stops_in_order() {
    use std::process::Command;
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let server = crate::support::http::Server::start();
        // A server that asks to wait keeps the run busy until the signal comes.
        let busy =
            crate::support::http::Answer::Whole(503, vec![("Retry-After".into(), "30".into())], vec![]);
        server.on("/items", vec![busy]);
        let yaml = format!("name: slow\nsources:\n  items:\n    type: rest\n    url: {}/items\n", server.url);
        let place = Place::project(&[("lagar.yaml", &yaml)]);
        let child = place.command(&["run"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
        while server.requests().is_empty() {
            thread::sleep(Duration::from_millis(5));
        }
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let done = crate::support::Done::of(child.wait_with_output().unwrap());
        done.says(code, &["stopping"]);
        server.on("/items", vec![crate::support::http::Answer::json("[{\"id\":1}]")]);
        place.run(&[]);
        assert_eq!(place.rows("SELECT id FROM raw.items").len(), 1);
    }
}

/// A query that would compute for hours neither keeps the signal waiting nor the sources beside it.
#[test]
fn a_signal_stops_a_query_that_computes() {
    let endless = "-- Too many rows.\nSELECT count(*) AS n FROM generate_series(1, 1000000) AS a(x) \
                   CROSS JOIN generate_series(1, 1000000) AS b(y) WHERE a.x + b.y = 0\n";
    let yaml = "name: busy\nsources:\n  items:\n    type: file\n    url: items.csv\n";
    let place =
        Place::project(&[("lagar.yaml", yaml), ("items.csv", "id\n1\n"), ("refined/endless.sql", endless)]);
    let mut child = place.command(&["run"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
    let loaded = lines.any(|line| line.unwrap().contains("raw.items"));
    assert!(loaded, "the source goes on beside the query");
    assert!(
        std::process::Command::new("kill")
            .args(["-INT", &child.id().to_string()])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(child.wait().unwrap().code(), Some(130));
}
