//! X4: whatever names, archives and links come from outside, nothing is written outside of the lake, of the
//! project's `.lagar` and of the scratch folder in it. `strace` says what was written.

mod archive;
mod trace;

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use lagar_testing::{Battery, long};
use serde_json::json;

use crate::support::{Done, Place, step, strace::available};
use archive::{Member, zip};

const REPLAY: &str = "cargo test -p lagar-cli --test e2e paths::";

/// Names and values that lead elsewhere where somebody believes them.
const HOSTILE: &[&str] = &[
    "../evil",
    "../../../../../../tmp/evil",
    "..",
    ".",
    "...",
    "/etc/evil",
    "//evil/share",
    "%2e%2e/evil",
    "%2e%2e%2fevil",
    "..%2fevil",
    "..%5cevil",
    "%00evil",
    "..\\evil",
    "C:\\evil",
    "C:evil",
    "evil:stream",
    "CON",
    "nul.txt",
    "a/../../evil",
    "./evil",
    "~/evil",
    "$HOME/evil",
    "evil\n../evil",
    "evil\u{202e}cod",
    "..\u{ff0f}evil",
    "\u{2024}\u{2024}/evil",
    "e\u{301}vil",
    " evil ",
    "evil.",
    "-evil",
    "evil=1/b=2",
    "_delta_log",
    "__HIVE_DEFAULT_PARTITION__",
    ".lagar-tmp-evil",
];

/// A project with one source, of one row.
const ONE_SOURCE: &str = "name: paths\nsources:\n  items:\n    type: file\n    url: a.csv\n";
const ONE_ROW: (&str, &str) = ("a.csv", "id\n1\n");
const NEWEST: &str = "-- Items.\nSELECT id FROM raw.items WHERE _newest\n";

/// The count of cases, where runs can be traced.
fn traceable() -> Option<Battery> {
    available().then(|| Battery::new("X4"))
}

/// What is there after a run besides what may be: lake, `.lagar`, and nothing.
struct Fence {
    place: Place,
    allowed: Vec<PathBuf>,
}

impl Fence {
    fn new(files: &[(&str, &str)]) -> Self {
        let place = Place::project(files);
        let project = place.project.canonicalize().unwrap();
        let allowed = vec![project.join("lake"), project.join(".lagar")];
        Self { place, allowed }
    }

    /// One source and a table of what it has now, loaded once.
    fn one_table() -> Self {
        let fence = Self::new(&[("lagar.yaml", ONE_SOURCE), ("trusted/items.sql", NEWEST), ONE_ROW]);
        fence.run(0);
        fence
    }

    /// Runs `lagar` and fails if it wrote anywhere else.
    #[track_caller]
    fn lagar(&self, args: &[&str]) -> Done {
        let (done, written) = trace::lagar(&self.place, args);
        let is_allowed = |path: &Path| {
            self.allowed.iter().any(|root| path.starts_with(root))
                || path.starts_with("/dev")
                || path.starts_with("/proc/self")
        };
        let outside: Vec<_> = written.iter().filter(|path| !is_allowed(path)).collect();
        assert!(outside.is_empty(), "`lagar {}` wrote to {outside:#?}", args.join(" "));
        assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
        assert_ne!(done.code, 70, "{}", done.stderr);
        // A trace that saw nothing proves nothing.
        if done.code == 0 && args[0] == "run" {
            assert!(written.iter().any(|path| path.starts_with(&self.allowed[1])), "{written:?}");
        }
        done
    }

    #[track_caller]
    fn run(&self, code: i32) -> Done {
        let done = self.lagar(&["run", "--json"]);
        assert_eq!(done.code, code, "{}", done.stderr);
        done
    }
}

fn csv_field(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

#[test]
fn names_of_partitions_columns_and_files() {
    let Some(mut battery) = traceable() else { return };
    let yaml = "name: paths\nsources:\n  items:\n    type: file\n    url: in/*.csv\n";
    let model = "-- Items.\n/*---\npartition_by: [v, w]\n---*/\nSELECT id, v, v AS w FROM raw.items\n";
    battery.case(&format!("{REPLAY}names (values of partition columns)"), || {
        let fence = Fence::new(&[("lagar.yaml", yaml), ("trusted/items.sql", model)]);
        let rows: String =
            HOSTILE.iter().enumerate().map(|(n, v)| format!("{n},{}\n", csv_field(v))).collect();
        fence.place.write("in/a.csv", format!("id,v\n{rows}"));
        fence.run(0);
        let rows = fence.place.rows("SELECT id, v, w FROM trusted.items ORDER BY id");
        let expected: Vec<_> =
            HOSTILE.iter().enumerate().map(|(n, v)| json!({"id": n, "v": v, "w": v})).collect();
        assert_eq!(rows, expected, "every value comes back as it was");
        fence.run(0);
    });
    battery.case(&format!("{REPLAY}names (a partition value that is too long, and NUL)"), || {
        let fence = Fence::new(&[("lagar.yaml", yaml), ("trusted/items.sql", model)]);
        fence.place.write("in/a.csv", "id,v\n1,a\0b\n");
        fence.run(0);
        assert_eq!(fence.place.rows("SELECT v FROM trusted.items"), vec![json!({"v": "a\0b"})]);
        fence.place.write("in/b.csv", format!("id,v\n1,{}\n", "../".repeat(2000)));
        fence.run(1);
    });
    battery.case(&format!("{REPLAY}names (columns, also as partitions)"), || {
        let header: Vec<String> = HOSTILE.iter().map(|name| csv_field(name)).collect();
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let by: Vec<String> = HOSTILE[..8].iter().map(|name| json!(name).to_string()).collect();
        let model = format!(
            "-- Items.\n/*---\npartition_by: [{}]\n---*/\nSELECT id, {} FROM raw.items\n",
            by.join(", "),
            HOSTILE[..12].iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ")
        );
        let fence = Fence::new(&[("lagar.yaml", yaml), ("trusted/items.sql", &model)]);
        let values: Vec<String> = HOSTILE.iter().map(|name| csv_field(name)).collect();
        fence.place.write("in/a.csv", format!("id,{}\n1,{}\n", header.join(","), values.join(",")));
        fence.run(0);
        let rows = fence.place.rows("SELECT * FROM trusted.items");
        for name in &HOSTILE[..12] {
            assert_eq!(rows[0][*name], **name);
        }
    });
    battery.case(&format!("{REPLAY}names (files, and what they are called in the lake)"), || {
        let model = "-- Items.\nSELECT id FROM raw.items\n";
        let fence = Fence::new(&[("lagar.yaml", yaml), ("trusted/items.sql", model)]);
        let long = "n".repeat(250);
        let names = HOSTILE.iter().copied().filter(|name| !name.contains('/')).chain([long.as_str()]);
        let mut count = 0;
        for name in names {
            fence.place.write(&format!("in/{name}.csv"), "id\n1\n");
            count += 1;
        }
        symlink("/etc", fence.place.project.join("in/folder")).unwrap();
        let outside = fence.place.dir.path().join("outside.csv");
        fs::write(&outside, "id\n2\n").unwrap();
        symlink(&outside, fence.place.project.join("in/link.csv")).unwrap();
        let report = fence.run(0).json();
        // A link in a folder of the user's is the user's: it is read, and stays as it is.
        assert_eq!(step(&report, "raw.items")["rows_out"], count + 1);
        assert_eq!(fs::read_to_string(outside).unwrap(), "id\n2\n");
    });
    battery.case(&format!("{REPLAY}names (sources and models)"), || {
        for name in HOSTILE {
            let yaml = format!("name: paths\nsources:\n  {}:\n    type: file\n    url: a.csv\n", json!(name));
            let fence = Fence::new(&[("lagar.yaml", &yaml), ONE_ROW]);
            let done = fence.place.lagar(&["run"]);
            assert_eq!(done.code, 2, "{name}: {}", done.stderr);
            assert!(!fence.place.lake().exists(), "{name}");
        }
        let fence = Fence::new(&[("lagar.yaml", "name: paths\n")]);
        for name in HOSTILE.iter().filter(|name| !name.contains('/')) {
            fence.place.write(&format!("trusted/{name}.sql"), "SELECT 1 AS a");
        }
        fence.run(2);
    });
}

#[test]
fn archives() {
    let Some(mut battery) = traceable() else { return };
    let yaml = "name: paths\nsources:\n  items:\n    type: file\n    url: a.zip\n    format: ndjson\n    max_bytes: 16MiB\n";
    let model = "-- Items.\nSELECT id FROM raw.items\n";
    let fence = |archive: &[u8]| {
        let fence = Fence::new(&[("lagar.yaml", yaml), ("trusted/items.sql", model)]);
        fence.place.write("a.zip", archive);
        fence
    };
    battery.case(&format!("{REPLAY}archives (names of members)"), || {
        let long = vec![b'n'; 60_000];
        let nul = b"a\0../evil";
        let names = HOSTILE.iter().map(|name| name.as_bytes()).chain([&long[..], nul, b"\xff\xfe../evil"]);
        let members: Vec<_> = names.map(|name| Member::file(name, b"{\"id\":1}\n")).collect();
        let fence = fence(&zip(&members));
        let report = fence.run(0).json();
        assert_eq!(step(&report, "raw.items")["rows_out"], members.len());
    });
    battery.case(&format!("{REPLAY}archives (a link, and a file behind it)"), || {
        let members = [Member::link(b"evil", b"/etc"), Member::file(b"evil/passwd", b"{\"id\":1}\n")];
        // A link is a member like any other: its target is no JSON.
        fence(&zip(&members)).run(1);
        let members = [Member::link(b"evil", b"{\"id\":1}\n"), Member::file(b"evil/x", b"{\"id\":2}\n")];
        fence(&zip(&members)).run(0);
    });
    battery.case(&format!("{REPLAY}archives (an archive in an archive)"), || {
        let inner = zip(&[Member::file(b"../evil", b"{\"id\":1}\n")]);
        fence(&zip(&[Member::file(b"a.zip", &inner)])).run(1);
    });
    battery.case(&format!("{REPLAY}archives (a bomb)"), || {
        let line = [vec![b' '; 1023], vec![b'\n']].concat();
        let mebibytes = line.repeat(20 << 10);
        let done = fence(&zip(&[Member::file(b"a", &mebibytes)])).run(1);
        assert!(done.stderr.contains("which is the limit"), "{}", done.stderr);
        let half = Member::file(b"a", &mebibytes[..10 << 20]);
        let done = fence(&zip(&[half, Member::file(b"b", &mebibytes[..10 << 20])])).run(1);
        assert!(done.stderr.contains("which is the limit"), "the limit is for all members together");
    });
    battery.case(&format!("{REPLAY}archives (very many members)"), || {
        let count = if long() { 1_000_000 } else { 20_000 };
        let names: Vec<Vec<u8>> = (0..count).map(|n| format!("../{n}").into_bytes()).collect();
        let members: Vec<_> = names.iter().map(|name| Member::file(name, b"{\"id\":1}\n")).collect();
        let fence = fence(&zip(&members));
        let report = fence.run(0).json();
        assert_eq!(step(&report, "raw.items")["rows_out"], count);
    });
}

#[test]
fn links_in_the_lake() {
    let Some(mut battery) = traceable() else { return };
    for link in [
        "raw",
        "raw/items",
        "raw/items/_loads",
        "raw/items/load_date",
        "trusted",
        "trusted/items",
        "trusted/items/_delta_log",
        "releases",
    ] {
        battery.case(&format!("{REPLAY}links ({link})"), || {
            let fence = Fence::one_table();
            // What was there lies elsewhere now, with a link in its place.
            let mut from = fence.place.lake().join(link);
            if let Some(start) = link.strip_suffix("load_date") {
                let folder = fence.place.lake().join(start);
                let dates = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
                from =
                    dates.into_iter().find(|path| path.display().to_string().contains("load_date=")).unwrap();
            }
            let outside = fence.place.dir.path().join("outside");
            fs::rename(&from, &outside).unwrap();
            symlink(&outside, &from).unwrap();
            let before = listing(&outside);
            fence.place.write("a.csv", "id\n1\n2\n");
            fence.lagar(&["run"]).says(1, &["symbolic link"]);
            fence.lagar(&["run", "--full-refresh"]).says(1, &["symbolic link"]);
            assert_eq!(listing(&outside), before);
        });
    }
    battery.case(&format!("{REPLAY}links (a link in the place of a commit)"), || {
        let fence = Fence::one_table();
        let target = fence.place.dir.path().join("precious");
        fs::write(&target, "precious").unwrap();
        symlink(&target, fence.place.lake().join("trusted/items/_delta_log/00000000000000000001.json"))
            .unwrap();
        fence.place.write("a.csv", "id\n1\n2\n");
        fence.lagar(&["run"]).says(1, &["symbolic link"]);
        assert_eq!(fs::read_to_string(target).unwrap(), "precious");
    });
}

#[test]
fn links_in_the_folder_of_the_state() {
    let Some(mut battery) = traceable() else { return };
    for link in [".lagar", ".lagar/tmp", ".lagar/history.db"] {
        battery.case(&format!("{REPLAY}links_in_the_folder_of_the_state ({link})"), || {
            let fence = Fence::new(&[("lagar.yaml", ONE_SOURCE), ONE_ROW]);
            let outside = fence.place.dir.path().join("outside");
            // A folder that looks like one that a killed run left: those are removed.
            fs::create_dir_all(outside.join("photos")).unwrap();
            fs::write(outside.join("photos/lock"), "").unwrap();
            fs::write(outside.join("photos/me.jpg"), "precious").unwrap();
            let at = fence.place.project.join(link);
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            let target = if link.ends_with(".db") { outside.join("photos/me.jpg") } else { outside.clone() };
            symlink(&target, &at).unwrap();
            let before = listing(&outside);
            for command in ["run", "runs", "doctor", "ls"] {
                fence.lagar(&[command]).says(2, &["symbolic link", link]);
            }
            assert_eq!(listing(&outside), before);
            assert_eq!(fs::read_to_string(outside.join("photos/me.jpg")).unwrap(), "precious");
        });
    }
}

#[test]
fn addresses_of_the_lake_and_records_that_lie() {
    let Some(mut battery) = traceable() else { return };
    for lake in ["lake", "./lake/../lake", "lake/", "./././lake", "in/../lake"] {
        battery.case(&format!("{REPLAY}addresses (lake: {lake})"), || {
            let yaml = format!("lake: {lake}\n{ONE_SOURCE}");
            let fence =
                Fence::new(&[("lagar.yaml", &yaml), ("trusted/items.sql", NEWEST), ONE_ROW, ("in/x", "")]);
            fence.run(0);
        });
    }
    battery.case(&format!("{REPLAY}addresses (a source reads the lake that it is loaded into)"), || {
        let yaml = "name: paths\nsources:\n  items:\n    type: file\n    url: lake/raw/items/*/*.csv\n  first:\n    type: file\n    url: a.csv\n";
        let fence = Fence::new(&[("lagar.yaml", yaml), ONE_ROW]);
        fence.place.write("lake/raw/items/x/a.csv", "id\n1\n");
        for _ in 0..3 {
            fence.run(0);
        }
    });
    for (name, folder, what) in [
        ("a manifest", "raw/items/_loads", "\"path\""),
        ("an entry of the log", "trusted/items/_delta_log", "\"path\""),
        ("a release", "releases", "\"trusted.items\""),
    ] {
        for evil in
            ["../../../../outside/x", "/etc/passwd", "%2e%2e/%2e%2e/%2e%2e/outside/x", "file:///etc/passwd"]
        {
            battery.case(&format!("{REPLAY}addresses ({name} names {evil})"), || {
                let fence = Fence::one_table();
                let record =
                    fs::read_dir(fence.place.lake().join(folder)).unwrap().next().unwrap().unwrap().path();
                let text = fs::read_to_string(&record).unwrap();
                let at = text.find(what).unwrap() + what.len();
                let (before, after) = text.split_at(at);
                // The value behind the key, or the key itself.
                let lying = match name {
                    "a release" => text.replacen("trusted.items", &format!("trusted.{evil}"), 1),
                    _ => {
                        let start = after.find('"').unwrap() + 1;
                        let end = start + after[start..].find('"').unwrap();
                        format!("{before}{}{evil}{}", &after[..start], &after[end..])
                    }
                };
                fs::write(&record, lying).unwrap();
                fence.place.write("a.csv", "id\n1\n2\n");
                for args in [
                    &["run"][..],
                    &["run", "--full-refresh"],
                    &["sql", "SELECT * FROM trusted.items"],
                    &["sql", "SELECT * FROM raw.items"],
                ] {
                    let done = fence.lagar(args);
                    assert!(!done.stdout.contains("root:"), "{}", done.stdout);
                }
            });
        }
    }
}

/// Every name below `folder`, with its length.
fn listing(folder: &Path) -> Vec<(PathBuf, u64)> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let meta = entry.metadata().unwrap();
        if meta.is_dir() {
            entries.extend(listing(&entry.path()));
        }
        entries.push((entry.path(), meta.len()));
    }
    entries.sort();
    entries
}
