//! M5: very many files, very many columns, a very long cell: each ends, in memory and time that grow with
//! what there is to read. (What is refused is in `extremes`.)

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{BufWriter, Write as _},
    time::Instant,
};

use lagar_testing::{Battery, long};
use serde_json::{Value, json};

use crate::support::{Done, Place, running::weighed, step};

const LIMITS: &str = "limits: {memory: 256MiB, threads: 2}";
/// What a process of such a limit may have, with the pages of a debug program.
const MEMORY_BYTES_MAX: u64 = (256 << 20) / 4 * 5 + (258 << 20);

fn project(sources: &str, models: &[(&str, &str)]) -> Place {
    let place = Place::project(models);
    place.write("lagar.yaml", format!("name: sizes\nlake: ./lake\n{LIMITS}\nsources:\n{sources}"));
    place
}

/// Runs the project; the report, the seconds, and the most memory that it had.
#[track_caller]
fn measured(place: &Place, what: &str) -> (Value, f64, u64) {
    let began = Instant::now();
    let (output, peak) = weighed(&mut place.command(&["run", "--json"]), place.dir.path());
    let done = Done::of(output);
    let seconds = began.elapsed().as_secs_f64();
    println!("{what}: {seconds:.1} s, {} MiB", peak >> 20);
    assert_eq!(done.code, 0, "{}", done.stderr);
    (done.json(), seconds, peak)
}

fn case(name: &str, work: impl FnOnce()) {
    Battery::new("M5").case(&format!("cargo test -p lagar-cli --test e2e sizes::{name}"), work);
}

#[test]
fn many_small_files() {
    let files: u64 = if long() { 100_000 } else { 1_000 };
    case("many_small_files", || {
        let place = project(
            "  days: {type: file, url: 'days/*.csv'}\n",
            &[("trusted/days.sql", "-- One row a line.\nSELECT id, name FROM raw.days WHERE _newest")],
        );
        fs::create_dir(place.project.join("days")).unwrap();
        for n in 0..files {
            fs::write(place.project.join(format!("days/{n:06}.csv")), format!("id,name\n{n},day {n}\n"))
                .unwrap();
        }
        let (report, seconds, peak) = measured(&place, "many files");
        assert_eq!(step(&report, "raw.days")["rows_out"], files);
        let sum = "SELECT count(*) AS n, sum(id) AS total, count(DISTINCT name) AS names FROM trusted.days";
        assert_eq!(place.rows(sum), [json!({"n": files, "total": files * (files - 1) / 2, "names": files})]);
        assert!(peak <= MEMORY_BYTES_MAX, "{peak}");
        // Each costs two fsyncs; the slowest disk that we know takes 10 ms for one.
        assert!(seconds < 10.0 + 0.03 * files as f64, "{seconds} s");
        // One more: the others are not read again.
        place.write("days/one_more.csv", format!("id,name\n{files},one more\n"));
        let (report, seconds, _) = measured(&place, "one more file");
        assert_eq!(step(&report, "raw.days")["rows_out"], 1);
        assert_eq!(step(&report, "trusted.days")["rows_out"], files + 1);
        assert!(seconds < 10.0 + 0.01 * files as f64, "{seconds} s");
    });
}

const WIDE_ROWS: usize = 20;

/// DataFusion compares every column of a SELECT with every other: a debug build takes minutes for thousands.
fn columns() -> usize {
    if long() { 5_000 } else { 300 }
}

/// What stands in a column of a row.
fn wide_value(row: usize, column: usize) -> usize {
    row * columns() + column
}

/// A model that names every column, and one that takes them as they are.
fn wide_models(source: &str) -> [(String, String); 2] {
    let mut named = String::from("-- One row a row.\nSELECT\n");
    for column in 0..columns() {
        let end = if column + 1 < columns() { "," } else { "" };
        writeln!(named, "    CAST(c{column} AS BIGINT) AS c{column}{end}").unwrap();
    }
    write!(named, "FROM raw.{source}").unwrap();
    let taken = format!(
        "-- One row a row.\nSELECT * EXCEPT (_source_file, _load, _loaded_at, _row, _newest) FROM raw.{source}"
    );
    [(format!("trusted/{source}_named.sql"), named), (format!("trusted/{source}_taken.sql"), taken)]
}

#[track_caller]
fn wide(source: &str, file: &str, text: &str) {
    let place = project(&format!("  {source}: {{type: file, url: {file}}}\n"), &[]);
    for (path, sql) in wide_models(source) {
        place.write(&path, sql);
    }
    place.write(file, text);
    let (report, seconds, peak) = measured(&place, "many columns");
    assert_eq!(step(&report, &format!("raw.{source}"))["rows_out"], WIDE_ROWS);
    for table in ["named", "taken"] {
        let sql =
            format!("SELECT sum(c0) AS first, sum(c{}) AS last FROM trusted.{source}_{table}", columns() - 1);
        let sum = |column| (0..WIDE_ROWS).map(|row| wide_value(row, column)).sum::<usize>();
        assert_eq!(place.rows(&sql), [json!({"first": sum(0), "last": sum(columns() - 1)})]);
    }
    assert!(peak <= 2 * MEMORY_BYTES_MAX, "{peak}");
    assert!(seconds < 120.0, "{seconds} s");
}

#[test]
fn many_columns_of_csv() {
    case("many_columns_of_csv", || {
        let line = |cells: &mut dyn Iterator<Item = String>| cells.collect::<Vec<_>>().join(",") + "\n";
        let mut text = line(&mut (0..columns()).map(|column| format!("c{column}")));
        for row in 0..WIDE_ROWS {
            text += &line(&mut (0..columns()).map(|column| wide_value(row, column).to_string()));
        }
        wide("csv", "wide.csv", &text);
    });
}

#[test]
fn many_columns_of_json() {
    case("many_columns_of_json", || {
        let mut text = String::new();
        for row in 0..WIDE_ROWS {
            let cells = (0..columns()).map(|column| format!("\"c{column}\":{}", wide_value(row, column)));
            writeln!(text, "{{{}}}", cells.collect::<Vec<_>>().join(",")).unwrap();
        }
        wide("json", "wide.ndjson", &text);
    });
}

/// Files of three rows, one with a text of so many bytes between two short ones, and a model that takes them.
fn with_a_cell(bytes: usize) -> impl Iterator<Item = (&'static str, Place)> {
    let files = [
        ("long.csv", "id,text\n1,a\n2,\"", "\"\n3,c\n"),
        (
            "long.ndjson",
            "{\"id\":1,\"text\":\"a\"}\n{\"id\":2,\"text\":\"",
            "\"}\n{\"id\":3,\"text\":\"c\"}\n",
        ),
        ("long.json", "[{\"id\":1,\"text\":\"a\"},{\"id\":2,\"text\":\"", "\"},{\"id\":3,\"text\":\"c\"}]"),
    ];
    files.into_iter().map(move |(name, before, after)| {
        let place = project(
            &format!("  cells: {{type: file, url: {name}}}\n"),
            &[("trusted/cells.sql", "-- One row a cell.\nSELECT id, text FROM raw.cells")],
        );
        let mut file = BufWriter::new(File::create(place.project.join(name)).unwrap());
        file.write_all(before.as_bytes()).unwrap();
        for _ in 0..bytes >> 10 {
            file.write_all(&[b'x'; 1 << 10]).unwrap();
        }
        file.write_all(after.as_bytes()).unwrap();
        file.flush().unwrap();
        (name, place)
    })
}

#[test]
fn a_long_cell() {
    let bytes = if long() { 60 << 20 } else { 20 << 20 };
    for (name, place) in with_a_cell(bytes) {
        case("a_long_cell", || {
            let (_, seconds, peak) = measured(&place, name);
            let lengths = place.rows("SELECT id, length(text) AS n FROM trusted.cells ORDER BY id");
            let expected = [1, bytes, 1].into_iter().zip(1..).map(|(n, id)| json!({"id": id, "n": n}));
            assert_eq!(lengths, expected.collect::<Vec<_>>());
            assert!(peak <= MEMORY_BYTES_MAX, "{peak}");
            assert!(seconds < 120.0, "{seconds} s");
        });
    }
}
