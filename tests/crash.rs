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

    let kills: u32 = if std::env::var_os("LAGAR_LONG").is_some() { 200 } else { 6 };
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
