//! R5, R6: in which order a run brings its files to the disk, and what a power cut leaves of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use lagar_testing::{Battery, long};
use serde_json::Value;

use crate::support::{
    audited::{Audited, Found, SOURCES},
    trace::{Call, File, What, files, synced, trace},
};

/// fsync of the bytes ≤ naming ≤ fsync of the folder, data before the record that names it, and all of it
/// before a line says that it is done. An empty lake first: there the folders must last too.
#[test]
fn everything_is_on_the_disk_before_it_is_said() {
    let Some(mut audited) = Audited::new() else { return };
    let mut battery = Battery::new("R5");
    for round in ["an empty lake", "more rows", "more rows again"] {
        audited.grow();
        let Some((output, calls)) = trace(&audited.place.command(&["run"])) else { return };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lake = audited.place.lake();
        let written = files(&calls, &lake);
        assert!(written.len() >= 17, "{} files: {written:?}", written.len());
        for file in &written {
            battery.case(&format!("{round}: {}", file.path.display()), || {
                in_order(&calls, &lake, file, &written)
            });
        }
        battery.case(&format!("{round}: what is printed"), || said_afterwards(&calls, &lake, &written));
        audited.exact();
    }
}

fn in_order(calls: &[Call], lake: &Path, file: &File, all: &[File]) {
    let bytes = file.synced.unwrap_or_else(|| panic!("its bytes were never brought to the disk: {file:?}"));
    assert!(
        file.written <= bytes && bytes < file.naming,
        "named before its bytes were on the disk: {file:?}"
    );
    let durable = file.durable.unwrap_or_else(|| panic!("its name was never brought to the disk: {file:?}"));
    assert!(file.named < durable, "{file:?}");
    for call in calls {
        if let What::Made(folder) = &call.what
            && file.path.starts_with(folder)
            && folder.starts_with(lake)
        {
            let lasts = synced(calls, folder.parent().unwrap(), call.ended);
            assert!(lasts.is_some_and(|lasts| lasts < durable), "{} may be lost", folder.display());
        }
    }
    for part in named_by(lake, &file.path) {
        if let Some(part) = all.iter().find(|other| other.path == part) {
            let lasts = part.durable.is_some_and(|durable| durable < file.naming);
            assert!(lasts, "{} is named by {} before it lasts", part.path.display(), file.path.display());
        }
    }
}

/// The objects that a record names: raw files of a load, files of a version, versions of a release.
fn named_by(lake: &Path, record: &Path) -> Vec<PathBuf> {
    let folder = record.parent().unwrap();
    let text = || fs::read_to_string(record).unwrap();
    let below = |folder: &Path, path: &Value| path.as_str().map(|path| folder.join(path));
    if folder.ends_with("_loads") {
        let load: Value = serde_json::from_str(&text()).unwrap();
        let source = folder.parent().unwrap();
        let files = load["files"].as_array().unwrap().iter().map(|file| &file["path"]);
        files.chain([&load["quarantine"]]).filter_map(|path| below(source, path)).collect()
    } else if folder.ends_with("_delta_log") {
        let table = folder.parent().unwrap();
        let entries = text();
        let entries = entries.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        entries.filter_map(|entry| below(table, &entry["add"]["path"])).collect()
    } else if folder.ends_with("releases") {
        let release: Value = serde_json::from_str(&text()).unwrap();
        let tables = release["tables"].as_object().unwrap();
        tables
            .iter()
            .map(|(name, version)| lake.join(name.replace('.', "/")).join("_delta_log").join(entry(version)))
            .collect()
    } else {
        Vec::new()
    }
}

fn entry(version: &Value) -> String {
    format!("{:020}.json", version.as_u64().unwrap())
}

/// Every step that committed something said so afterwards, and so did the run.
fn said_afterwards(calls: &[Call], lake: &Path, written: &[File]) {
    let mut commits = 0;
    for file in written {
        let folder = file.path.parent().unwrap();
        let words = if folder.ends_with("releases") {
            "released as ".to_owned()
        } else if folder.ends_with("_loads") || folder.ends_with("_delta_log") {
            step_of(lake, folder) + " "
        } else if folder.parent().is_some_and(|parent| parent.ends_with("_predictors")) {
            format!("predictors.{} ", folder.file_name().unwrap().display())
        } else {
            continue;
        };
        commits += 1;
        let line = printed(calls, &words).unwrap_or_else(|| panic!("nobody said `{words}`"));
        assert!(file.durable.is_some_and(|durable| durable < line), "`{words}` was said too early: {file:?}");
    }
    assert_eq!(commits, 11, "three loads, a predictor, six tables and a release");
}

/// `raw.events` for its folder of manifests.
fn step_of(lake: &Path, folder: &Path) -> String {
    folder.parent().unwrap().strip_prefix(lake).unwrap().display().to_string().replace('/', ".")
}

/// When the printing of the first text with `words` began.
fn printed(calls: &[Call], words: &str) -> Option<usize> {
    let says = |call: &&Call| matches!(&call.what, What::Printed(text) if text.contains(words));
    calls.iter().find(says).map(|call| call.begun)
}

/// At each fsync of a run the power fails. What was written since a file's last fsync is gone (all or
/// half of it), and so are names whose folder was not synced (or they are not: both may happen).
#[test]
fn a_power_cut_takes_nothing_that_was_acknowledged() {
    let Some(mut audited) = Audited::new() else { return };
    audited.grow();
    audited.place.run(&[]);
    let before = audited.place.lake_files();
    audited.grow();
    let Some((output, calls)) = trace(&audited.place.command(&["run"])) else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    audited.exact();
    let lake = audited.place.lake();
    let after = audited.place.lake_files();
    let written = files(&calls, &lake);

    let moments: BTreeSet<usize> = calls
        .iter()
        .filter(|call| matches!(&call.what, What::Synced(path) if path.starts_with(&lake)))
        .map(|call| call.ended)
        .chain([calls.last().unwrap().ended])
        .collect();
    assert!(moments.len() >= 30, "{} fsyncs", moments.len());
    let mut battery = Battery::new("R6");
    let mut trees: Vec<BTreeMap<String, Vec<u8>>> = Vec::new();
    let mut cases = 0;
    for moment in moments {
        for (names_last, half) in [(false, false), (false, true), (true, false), (true, true)] {
            let cut = PowerCut { calls: &calls, lake: &lake, moment, names_last, half };
            let tree = cut.tree(&before, &after, &written);
            cases += 1;
            battery.case(&format!("line {moment}, names last: {names_last}, half: {half}"), || {
                put_tree(&lake, &tree);
                let found = audited.look(&[audited.rows() - 5, audited.rows()]);
                acknowledged(&calls, moment, &found, audited.rows());
                // Most cuts leave the same: it is enough to go on from each once.
                if !trees.contains(&tree) {
                    if long() || trees.len().is_multiple_of(3) {
                        audited.place.run(&[]);
                        audited.exact();
                    }
                    trees.push(tree);
                }
            });
        }
    }
    assert!(trees.len() >= 18, "{cases} cuts left only {} states", trees.len());
}

struct PowerCut<'a> {
    calls: &'a [Call],
    lake: &'a Path,
    moment: usize,
    /// Whether a name that was given and not synced is there.
    names_last: bool,
    /// Whether half of the bytes that were not synced are there, or none.
    half: bool,
}

impl PowerCut<'_> {
    fn tree(
        &self,
        before: &BTreeMap<String, Vec<u8>>,
        after: &BTreeMap<String, Vec<u8>>,
        written: &[File],
    ) -> BTreeMap<String, Vec<u8>> {
        let mut tree = before.clone();
        for file in written {
            let done = |moment: Option<usize>| moment.is_some_and(|moment| moment <= self.moment);
            let there = if self.names_last { file.named <= self.moment } else { done(file.durable) };
            if !there || self.folder_is_lost(&file.path) {
                continue;
            }
            let name = file.path.strip_prefix(self.lake).unwrap().display().to_string();
            // A merge puts files aside and removes them: of such a one no record ever names a byte.
            let whole = after.get(&name).map_or(&[][..], Vec::as_slice);
            let bytes = match (done(file.synced), self.half) {
                (true, _) => whole.to_vec(),
                (false, true) => whole[..whole.len() / 2].to_vec(),
                (false, false) => Vec::new(),
            };
            tree.insert(name, bytes);
        }
        tree
    }

    fn folder_is_lost(&self, path: &Path) -> bool {
        !self.names_last
            && self.calls.iter().any(|call| match &call.what {
                What::Made(folder) if path.starts_with(folder) => {
                    synced(self.calls, folder.parent().unwrap(), call.ended)
                        .is_none_or(|end| end > self.moment)
                }
                _ => false,
            })
    }
}

fn put_tree(lake: &Path, tree: &BTreeMap<String, Vec<u8>>) {
    fs::remove_dir_all(lake).unwrap();
    for (name, bytes) in tree {
        let path = lake.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

/// What the run had said by then is there.
fn acknowledged(calls: &[Call], moment: usize, found: &Found, rows: u64) {
    let said = |words: &str| printed(calls, words).is_some_and(|line| line <= moment);
    for source in SOURCES {
        if said(&format!(" raw.{source} ")) {
            assert_eq!(found.raw[source]["rows"], rows, "raw.{source} was acknowledged");
        }
    }
    assert!(found.state.is_some(), "a release is there");
    if said("released as") {
        assert_eq!(found.state, Some(rows), "the release was acknowledged");
    }
}
