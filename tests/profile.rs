//! `lagar profile`: the page, the JSON, the HTML, and the model that it suggests.

use std::{fs, process::Command};

use serde_json::{Value, json};

use crate::support::{Place, fixtures};

/// 200 orders with what real tables have: nulls, null tokens, codes, a constant, texts that are times.
fn orders() -> Place {
    let mut rows = String::new();
    for id in 0..200 {
        let status = ["paid", "paid", "shipped", "cancelled"][id % 4];
        let note = if id % 10 == 0 { json!(format!("note {id}")) } else { json!("nan") };
        let due =
            if id % 4 == 0 { json!(format!("2024-01-{:02}T10:00:00", id % 28 + 1)) } else { Value::Null };
        let row = json!({
            "id": id, "status": status, "amount": id as f64 / 4.0, "note": note, "due": due, "country": "CO",
            "zip": format!("{:05}", id % 7 * 1000), "tags": ["a", "b"], "at": format!("2024-02-{:02}", id % 28 + 1),
        });
        rows.push_str(&format!("{row}\n"));
    }
    let yaml = "name: small\nsources:\n  orders:\n    type: file\n    url: orders.ndjson\n";
    let place = Place::project(&[
        ("lagar.yaml", yaml),
        ("orders.ndjson", &rows),
        (
            "trusted/orders.sql",
            "-- Orders.\nSELECT id, status, amount, tags, CAST(at AS DATE) AS day FROM raw.orders\n",
        ),
        ("trusted/nothing.sql", "-- No rows.\nSELECT id, status FROM raw.orders WHERE id < 0\n"),
    ]);
    place.run(&[]);
    place
}

fn column<'a>(profile: &'a Value, name: &str) -> &'a Value {
    let columns = profile["columns"].as_array().unwrap();
    columns.iter().find(|column| column["name"] == name).unwrap_or_else(|| panic!("no {name} in {profile}"))
}

#[test]
fn json_has_what_the_rows_have() {
    let place = orders();
    let done = place.lagar(&["profile", "raw.orders", "--json"]);
    done.says(0, &[]);
    assert_eq!(done.stdout.lines().count(), 1);
    let profile = done.json();
    assert_eq!(
        (&profile["table"], &profile["version"], &profile["rows"]),
        (&json!("raw.orders"), &json!(1), &json!(200))
    );
    assert!(profile["bytes"].as_u64().unwrap() > 10_000);
    let names: Vec<&str> =
        profile["columns"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        ["id", "status", "amount", "note", "due", "country", "zip", "tags", "at"],
        "no place of rows"
    );
    let amount = column(&profile, "amount");
    assert_eq!(
        (&amount["min"], &amount["max"], &amount["mean"]),
        (&json!(0.0), &json!(49.75), &json!(24.875))
    );
    assert_eq!(
        (&amount["type"], &amount["distinct"], &amount["distinct_is_exact"]),
        (&json!("double"), &json!(200), &json!(true))
    );
    let status = column(&profile, "status");
    assert_eq!(status["top"][0], json!({"value": "paid", "count": 100, "is_exact": true}));
    assert_eq!(column(&profile, "due")["nulls"], 150);
    assert_eq!(column(&profile, "note")["null_tokens"], 180);
    assert_eq!(column(&profile, "tags")["lengths"], json!([2, 2]));

    // The figures are those of SQL.
    let sql =
        "SELECT count(*) AS rows, count(DISTINCT zip) AS d, min(zip) AS lo, max(zip) AS hi FROM raw.orders";
    let rows = place.rows(sql);
    let zip = column(&profile, "zip");
    assert_eq!(
        rows,
        [json!({"rows": zip["rows"], "d": zip["distinct"], "lo": zip["min"], "hi": zip["max"]})]
    );

    let some = place
        .lagar(&["profile", "raw.orders", "--columns", "zip,_load", "--where", "id < 10 -- few", "--json"])
        .json();
    assert_eq!((&some["rows"], &some["where"]), (&json!(10), &json!("id < 10 -- few")));
    assert_eq!(some["columns"].as_array().unwrap().len(), 2);
    for (table, rows) in
        [("trusted.orders", 200), ("quarantine.orders", 0), ("system.steps", 3), ("trusted.nothing", 0)]
    {
        let done = place.lagar(&["profile", table, "--json"]);
        done.says(0, &[]);
        assert_eq!(done.json()["rows"], rows, "{table}");
        assert_eq!(place.lagar(&["profile", table]).code, 0, "{table}");
    }
}

#[test]
fn what_is_written_like_null_is_what_the_functions_make_null() {
    let place = orders();
    let yaml = fs::read_to_string(place.project.join("lagar.yaml")).unwrap();
    let sql = "SELECT count(*) AS n FROM raw.orders WHERE note IS NOT NULL AND null_tokens(note) IS NULL";
    for (tokens, count) in
        [("", 180), ("null_tokens: ['note 10', 'x']\n", 1), ("null_tokens: ['nan', 'note 0']\n", 181)]
    {
        place.write("lagar.yaml", format!("{yaml}{tokens}"));
        assert_eq!(place.rows(sql), [json!({"n": count})], "{tokens}");
        let profile = place.lagar(&["profile", "raw.orders", "--json"]).json();
        assert_eq!(column(&profile, "note")["null_tokens"], count, "{tokens}");
    }
    // A model that is suggested keeps what its own functions would.
    let done = place.lagar(&["profile", "raw.orders", "--columns", "id,note", "--suggest", "--json"]);
    done.says(0, &[]);
    assert_eq!(done.json()["dropped"], json!({"note": "90.5 % null"}));
}

#[test]
fn the_page_fits_the_terminal() {
    let place = orders();
    for width in [80, 120] {
        let output =
            place.command(&["profile", "raw.orders"]).env("COLUMNS", width.to_string()).output().unwrap();
        let page = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && !page.contains('\u{1b}'), "{page}");
        for line in page.lines() {
            assert!(line.chars().count() <= width, "{} > {width}: {line}", line.chars().count());
        }
        for part in [
            "raw.orders  load 1 of",
            "200 rows",
            "9 columns",
            "0 … 199, mean 99.5",
            "paid 50 %",
            "75 %",
            "90 % written like null (180)",
            "could be date",
        ] {
            assert!(page.contains(part), "{width}: `{part}` is not in\n{page}");
        }
        assert!(
            page.lines().any(|line| line.starts_with("amount") && line.contains("████████████")),
            "{page}"
        );
    }
}

#[test]
fn what_is_not_there_is_named() {
    let place = orders();
    place.lagar(&["profile", "trusted.order"]).says(1, &["trusted.order", "did you mean `trusted.orders`?"]);
    place
        .lagar(&["profile", "raw.orders", "--columns", "idd"])
        .says(2, &["no column `idd`", "did you mean `id`?"]);
    place.lagar(&["profile", "raw.orders", "--where", "nope = 1"]).says(2, &["nope"]);
    place.lagar(&["profile", "raw.orders", "--suggest", "--null-share", "2"]).says(2, &["between 0 and 1"]);
    place.lagar(&["profile", "trusted.nothing", "--suggest"]).says(2, &["no rows"]);
    place
        .lagar(&["profile", "raw.orders", "--columns", "country", "--suggest"])
        .says(2, &["leaves no column"]);
}

/// Nothing of a name or a cell is taken for HTML, and nothing is fetched.
#[test]
fn the_html_stands_alone_whatever_is_in_the_cells() {
    let hostile = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;\u{202e}";
    let rows: String = (0..20)
        .map(|id| format!("{}\n", json!({"<b>\"x\"</b>": hostile, "id": id, "huge": "y".repeat(50_000), "same": "x", "gone": null, "part": if id < 5 { json!(id) } else { json!(null) }})))
        .collect();
    let place = Place::project(&[
        ("lagar.yaml", "name: small\nsources:\n  cells:\n    type: file\n    url: cells.ndjson\n"),
        ("cells.ndjson", &rows),
    ]);
    place.run(&[]);
    let file = place.dir.path().join("report.html");
    let done = place.lagar(&["profile", "raw.cells", "--html", file.to_str().unwrap()]);
    done.says(0, &["report.html"]);
    assert_eq!(done.stdout, "");
    let html = fs::read_to_string(&file).unwrap();
    for forbidden in
        ["<script", "<img", "<b>", "onerror=alert(2)>", "http://", "https://", "url(", "\u{202e}"]
    {
        assert!(!html.contains(forbidden), "{forbidden}");
    }
    for part in [
        "&lt;script&gt;alert(1)",
        "&lt;b&gt;&quot;x&quot;&lt;/b&gt;",
        "<svg",
        "prefers-color-scheme: dark",
        "75 % null",
    ] {
        assert!(html.contains(part), "{part}");
    }
    assert!(html.len() < 60_000, "a huge cell is cut: {}", html.len());
    // Every element that is opened is closed, in order.
    let well_formed = "import sys\nfrom html.parser import HTMLParser\nclass P(HTMLParser):\n  def __init__(s):\n    super().__init__(); s.open=[]\n  def handle_starttag(s,t,a):\n    if t in ('meta','th','td','dt','dd','rect'): return\n    s.open.append(t)\n  def handle_endtag(s,t):\n    if t in ('rect','td','th'): return\n    assert s.open and s.open[-1]==t,(t,s.open); s.open.pop()\np=P(); p.feed(open(sys.argv[1]).read()); assert not p.open,p.open\n";
    if let Ok(output) = Command::new("python3").args(["-c", well_formed]).arg(&file).output() {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let text = place.lagar(&["profile", "raw.cells"]);
    assert!(text.code == 0 && !text.stdout.contains('\u{202e}'), "{}", text.stdout);
}

#[test]
fn the_suggested_model_is_a_file_for_a_reviewer() {
    let place = orders();
    let shown = place.lagar(&["profile", "raw.orders", "--suggest"]);
    shown.says(0, &[]);
    let sql = &shown.stdout;
    for line in [
        "-- raw.orders, cleaned: one row for each row that the source has now.",
        "    -- dropped: note: 90 % null",
        "    -- dropped: due: 75 % null",
        "    -- dropped: country: always 'CO'",
        "    -- dropped: tags: always '[a, b]'",
        "FROM raw.orders",
        "WHERE _newest",
    ] {
        assert!(sql.lines().any(|found| found == line), "`{line}` is not in\n{sql}");
    }
    for part in [
        "    id, ",
        "    clean(status) AS status,",
        "    zip_code(zip) AS zip,",
        "    try_date(at) AS at ",
        " 200 rows of loads up to 1 where _newest:",
    ] {
        assert!(sql.contains(part), "`{part}` is not in\n{sql}");
    }

    let file = place.project.join("trusted/clean_orders.sql");
    let path = file.to_str().unwrap();
    place.lagar(&["profile", "raw.orders", "--suggest", "-o", path]).says(0, &["5 columns kept, 4 dropped"]);
    assert_eq!(&fs::read_to_string(&file).unwrap(), sql);
    fs::write(&file, "-- mine\n").unwrap();
    place
        .lagar(&["profile", "raw.orders", "--suggest", "-o", path])
        .says(2, &["is there already", "--force"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "-- mine\n", "nothing is written over");
    let done = place.lagar(&[
        "profile",
        "raw.orders",
        "--suggest",
        "-o",
        path,
        "--force",
        "--null-share",
        "1",
        "--distinct",
        "0",
        "--json",
    ]);
    done.says(0, &[]);
    assert_eq!((&done.json()["kept"], &done.json()["dropped"]), (&json!(9), &json!({})));
    assert_eq!(fs::read_to_string(&file).unwrap(), done.json()["sql"].as_str().unwrap());
}

/// A file that changed takes the place of its older version also in the table that was suggested, and columns with
/// names for people are no obstacle.
#[test]
fn the_suggested_model_runs_and_doubles_nothing() {
    let yaml = "name: p\nsources:\n  orders:\n    type: file\n    url: orders.csv\n";
    let rows = "Order No,Unit Price,City\n1,2.5,Cali\n2,3.5,Bogotá\n";
    let place = Place::project(&[("lagar.yaml", yaml), ("orders.csv", rows)]);
    place.run(&[]);
    fs::write(place.project.join("orders.csv"), format!("{rows}3,4.5,Pasto\n")).unwrap();
    place.run(&[]);
    let path = place.project.join("trusted/orders.sql");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    place
        .lagar(&["profile", "raw.orders", "--suggest", "-o", path.to_str().unwrap()])
        .says(0, &["3 columns kept"]);
    let sql = fs::read_to_string(&path).unwrap();
    assert!(sql.contains(" 3 rows of loads up to 2 where _newest:"), "{sql}");
    place.run(&[]);
    let found = place
        .rows("SELECT count(*) AS n, sum(\"Unit_Price\") AS s, max(\"Order_No\") AS m FROM trusted.orders");
    assert_eq!(found, [json!({"n": 3, "s": 10.5, "m": 3})]);
}

/// Facts §3.7: the column rule on 134 real rows.
#[test]
fn the_column_rule_gives_the_known_figures() {
    let Some(fixtures) = fixtures() else {
        println!("skipped: LAGAR_FIXTURES is not set");
        return;
    };
    let rows = fixtures.join("nyc311_preprocessed_2011-08-27.jsonl");
    let yaml = format!(
        "name: city\nsources:\n  complaints:\n    type: file\n    url: {}\n    format: ndjson\n",
        rows.display()
    );
    let place = Place::project(&[("lagar.yaml", &yaml)]);
    place.run(&[]);
    let done = place.lagar(&["profile", "raw.complaints", "--suggest", "--json"]);
    done.says(0, &[]);
    let found = done.json();
    assert_eq!(found["rows"], 134);
    let dropped = found["dropped"].as_object().unwrap();
    let with = |reason: &str| {
        let mut names: Vec<&str> = dropped
            .iter()
            .filter(|(_, why)| why.as_str().unwrap().contains(reason))
            .map(|(name, _)| name.as_str())
            .collect();
        names.sort_unstable();
        names
    };
    assert_eq!(
        with("100 % null"),
        [
            "bridge_highway_direction",
            "bridge_highway_name",
            "bridge_highway_segment",
            "facility_type",
            "intersection_street_1",
            "intersection_street_2",
            "road_ramp",
            "taxi_company_borough",
            "taxi_pick_up_location",
            "vehicle_type"
        ]
    );
    assert_eq!(dropped["due_date"], "93.3 % null");
    assert_eq!(with("always"), ["address_type", "created_date", "park_facility_name", "status"]);
    assert_eq!(dropped.len(), 15);
    let sql = found["sql"].as_str().unwrap();
    for part in [
        "try_int(unique_key) AS unique_key,",
        "zip_code(incident_zip) AS incident_zip,",
        "try_timestamp(closed_date) AS closed_date,",
        "clean(borough) AS borough,",
        "try_double(latitude) AS latitude,",
    ] {
        assert!(sql.contains(part), "`{part}` is not in\n{sql}");
    }
}

#[test]
fn five_hundred_columns_fit_on_a_page() {
    let row: serde_json::Map<String, Value> =
        (0..500).map(|n| (format!("column_{n:03}"), json!(n))).collect();
    let place = Place::project(&[
        ("lagar.yaml", "name: wide\nsources:\n  wide:\n    type: file\n    url: wide.ndjson\n"),
        ("wide.ndjson", &format!("{}\n", Value::Object(row))),
    ]);
    place.run(&[]);
    let done = place.lagar(&["profile", "raw.wide"]);
    done.says(0, &[]);
    assert!(
        done.stdout.contains("1 row · 500 columns") && done.stdout.contains("column_499"),
        "{}",
        done.stdout
    );
}
