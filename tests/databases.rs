//! S6: the whole binary against real databases, which are killed in the middle of a read.

use std::{fs, process::Command};

use lagar_testing::{Battery, Break, Proxy, Service, long};

use crate::support::{
    Done, Place, files_below,
    running::{Running, weighed},
    step,
};

struct Kind {
    name: &'static str,
    variable: &'static str,
    /// Rows of ten columns' worth of text: `{}` is their number.
    fill: &'static str,
}

const POSTGRES: Kind = Kind {
    name: "postgres",
    variable: "POSTGRES_URL",
    fill: "CREATE TABLE big AS SELECT i::int8 AS id, (SELECT string_agg(md5(i::text || j), '') FROM generate_series(1, 32) j) AS x FROM generate_series(1, {}) i; ALTER TABLE big ADD PRIMARY KEY (id)",
};
const MARIADB: Kind = Kind {
    name: "mariadb",
    variable: "MARIADB_URL",
    fill: "CREATE TABLE big (id bigint PRIMARY KEY, x text) SELECT seq AS id, CONCAT(REPEAT(MD5(seq), 16), REPEAT(MD5(seq + 0.5), 16)) AS x FROM seq_1_to_{}",
};

impl Kind {
    /// The server of all tests; `None`, which is said, where there is none.
    fn url(&self) -> Option<String> {
        let url = std::env::var(self.variable).ok();
        if url.is_none() {
            println!("skipped: {} is not set", self.variable);
        }
        url
    }

    /// Runs statements with the database's own client.
    fn client(&self, url: &str, sql: &str) -> String {
        let mut command = match self.name {
            "postgres" => {
                let mut command = Command::new("psql");
                command.args(["-qAtX", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", sql]);
                command
            }
            _ => {
                let mut command = Command::new("mariadb");
                command.args(["--no-defaults", "--protocol=tcp", "-N", "-h", "127.0.0.1", "-P", port(url)]);
                command.args(["-u", "lagar", "-plagar", "lagar", "-e", sql]);
                command
            }
        };
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

/// Of `scheme://user:password@host:port/database`, which the scripts print.
fn port(url: &str) -> &str {
    url.rsplit_once(':').and_then(|(_, rest)| rest.split_once('/')).unwrap().0
}

fn place(url: &str, more: &str) -> Place {
    let yaml = format!(
        "name: big\nsources:\n  big:\n    type: sql\n    url: \"{url}\"\n    table: big\n    retry: {{attempts: 1}}\n{more}"
    );
    Place::project(&[
        ("lagar.yaml", &yaml),
        ("trusted/big.sql", "-- Rows.\nSELECT id, x FROM raw.big WHERE _newest\n"),
    ])
}

/// The rows of a table, as one word: their number, their identities, and all that they hold.
fn sums(place: &Place, table: &str) -> String {
    let rows = place.rows(&format!("SELECT count(*) AS n, count(DISTINCT id) AS ids, sum(id) AS total, count(DISTINCT x) AS xs, sum(length(x)) AS letters FROM {table}"));
    serde_json::to_string(&rows[0]).unwrap()
}

/// Nothing of the read that failed can be seen.
fn nothing_is_visible(place: &Place) {
    let seen: Vec<String> = place
        .lake_files()
        .into_keys()
        .filter(|path| path.contains("_loads") || path.starts_with("releases") || path.starts_with("trusted"))
        .collect();
    assert_eq!(seen, Vec::<String>::new());
    let left: Vec<_> = fs::read_dir(place.project.join(".lagar/tmp")).into_iter().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_server_killed_in_the_middle_of_a_read() {
    // Twelve megabytes: most of them do not fit into the buffers on the way.
    const ROWS: u64 = 12_000;
    let mut battery = Battery::new("S6");
    for kind in [POSTGRES, MARIADB] {
        if kind.url().is_none() {
            continue;
        }
        let server = Service::start(kind.name, &[]);
        let url = server.variable(kind.variable);
        kind.client(url, &kind.fill.replace("{}", &ROWS.to_string()));
        let whole = place(url, "");
        whole.run(&[]);
        let expected = sums(&whole, "trusted.big");
        assert!(expected.contains(&format!("\"ids\":{ROWS}")), "{expected}");
        for (again, after) in [(false, 100_000), (true, 1_000_000)] {
            let words = format!(
                "{}, after {after} bytes, {}",
                kind.name,
                if again { "and started again at once" } else { "for good" }
            );
            battery.case(&words, || {
                let proxy = Proxy::start(&format!("127.0.0.1:{}", port(url)), after, Break::Stall);
                let through = url.replace(port(url), &proxy.port().to_string());
                let place = place(&through, "    split: {rows: 500}\n");
                let run = Running::start(&mut place.command(&["run", "--json"]));
                proxy.wait_until_reached();
                server.kill();
                if again {
                    server.restart();
                }
                // What was on its way arrives, then the end.
                proxy.heal();
                let done = run.end();
                done.says(75, &["E2302", "was lost", "raw.big"]);
                assert_eq!(step(&done.json(), "raw.big")["status"], "failed");
                nothing_is_visible(&place);
                if !again {
                    place.lagar(&["run"]).says(75, &["E2302"]);
                    server.restart();
                }
                place.run(&[]);
                assert_eq!(sums(&place, "trusted.big"), expected);
                assert_eq!(sums(&place, "raw.big"), expected, "orphans of the first run are no rows");
            });
        }
    }
}

#[test]
fn a_wrong_password_is_printed_nowhere() {
    const SECRET: &str = "pr1vate-canary";
    let mut battery = Battery::new("S6");
    for kind in [POSTGRES, MARIADB] {
        let Some(url) = kind.url() else { continue };
        let url = url.replace("lagar:lagar@", &format!("lagar:{SECRET}@"));
        battery.case(kind.name, || {
            let place = place(&url, "");
            for args in [&["run", "--json"][..], &["run", "-v"], &["plan"], &["ls"]] {
                let mut command = place.command(args);
                let done = Done::of(command.env("LAGAR_LOG", "trace").output().unwrap());
                if args[0] == "run" {
                    done.says(1, &["E2204", "refused the login", "check the user and the password"]);
                }
                assert!(!done.stdout.contains(SECRET) && !done.stderr.contains(SECRET), "{}", done.stderr);
            }
            // Nor is it in what the run left: history, logs, the lake.
            for path in files_below(&place.project).iter().filter(|path| !path.ends_with("lagar.yaml")) {
                let bytes = fs::read(path).unwrap();
                let found = bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes());
                assert!(!found, "{}", path.display());
            }
        });
    }
}

/// Rows of a kilobyte pass through memory that does not grow with their number.
#[test]
fn a_million_rows_of_a_kilobyte_in_300_mb() {
    const MEMORY_MAX: u64 = 300 << 20;
    let rows: u64 = if long() { 1_000_000 } else { 20_000 };
    let mut battery = Battery::new("S6");
    for kind in [POSTGRES, MARIADB] {
        let Some(url) = kind.url() else { continue };
        battery.case(&format!("{}, {rows} rows", kind.name), || {
            kind.client(&url, "DROP TABLE IF EXISTS big");
            kind.client(&url, &kind.fill.replace("{}", &rows.to_string()));
            let place = place(&url, "");
            let mut command = place.command(&["run", "--select", "raw.big", "--json"]);
            let (output, peak) = weighed(&mut command, place.dir.path());
            let done = Done::of(output);
            done.says(0, &[]);
            assert_eq!(step(&done.json(), "raw.big")["rows_out"], rows);
            println!("{}: {rows} rows, {} MiB at most", kind.name, peak >> 20);
            assert!((1..=MEMORY_MAX).contains(&peak), "{peak} bytes");
            kind.client(&url, "DROP TABLE big");
        });
    }
}
