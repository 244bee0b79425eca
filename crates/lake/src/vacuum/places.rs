//! What is in the folder of a source or a table, and what of it is needed.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use chrono::{DateTime, Utc};
use lagar_flow::{Error, Name, Result, TableName, codes};
use object_store::path::Path;
use uuid::Uuid;

use super::{Place, Why, sorted_out};
use crate::{
    Lake, Manifest,
    raw::{self, raw_path},
    refused::RefusedVersion,
    store::PROBES,
    table::{entry_number, write::id_of},
};

impl Lake {
    pub(super) async fn raw_place(&self, source: &Name, cutoff: DateTime<Utc>) -> Result<Place> {
        let folder = Path::from("raw").join(source.as_str());
        // First: what lands from here on is not in it.
        let listed = self.listed(&folder).await?;
        let mut needed = HashSet::new();
        let mut notes = Vec::new();
        for load in self.loads(source).await? {
            needed.extend(objects_of(source, &load)?);
        }
        for object in &listed {
            if object.location == raw_path(source, raw::REFUSED)? {
                match object.last_modified > cutoff {
                    true => {
                        needed.insert(object.location.clone());
                        let refused: Option<Manifest> = self.note(&object.location).await?;
                        if let Some(refused) = refused {
                            needed.extend(objects_of(source, &refused)?);
                        }
                    }
                    false => notes.push(object.location.clone()),
                }
            }
        }
        let ours = listed.into_iter().filter(|object| {
            let Some(parts) = object.location.prefix_match(&folder) else { return false };
            let parts: Vec<String> = parts.map(|part| part.as_ref().to_owned()).collect();
            notes.contains(&object.location) || needed.contains(&object.location) || is_raw_file(&parts)
        });
        let why = |object: &Path| if notes.contains(object) { Why::Refused } else { Why::NoLoad };
        Ok(sorted_out(format!("raw.{source}"), ours, &needed, cutoff, why))
    }

    pub(super) async fn table_place(
        &self,
        table: &TableName,
        pinned: &HashSet<(TableName, u64)>,
        cutoff: DateTime<Utc>,
    ) -> Result<Place> {
        let folder = self.table_folder(table);
        // First: what a version names that lands from here on is not in it, or was there before.
        let listed = self.listed(&folder).await?;
        let entries: BTreeMap<u64, DateTime<Utc>> = listed
            .iter()
            .filter_map(|object| Some((entry_number(&folder, &object.location)?, object.last_modified)))
            .collect();
        let mut needed = self.files_needed(table, &entries, pinned, cutoff).await?;
        let note = folder.clone().join(crate::refused::REFUSED);
        let mut refused_files = HashSet::new();
        for object in listed.iter().filter(|object| object.location == note) {
            let refused: Option<RefusedVersion> = self.note(&note).await?;
            let files = refused.iter().flat_map(|refused| &refused.rows.files);
            let files = files.map(|file| self.file_path(table, file)).collect::<Result<Vec<Path>>>()?;
            match object.last_modified > cutoff {
                true => {
                    needed.insert(note.clone());
                    needed.extend(files);
                }
                false => refused_files.extend(files),
            }
        }
        let ours = listed.into_iter().filter(|object| {
            let in_log = object.location.prefix_matches(&folder.clone().join("_delta_log"));
            object.location == note || (!in_log && id_of(object.location.as_ref()).is_some())
        });
        let why = |object: &Path| match *object == note || refused_files.contains(object) {
            true => Why::Refused,
            false => Why::NoVersion,
        };
        Ok(sorted_out(table.to_string(), ours, &needed, cutoff, why))
    }

    /// The files of all versions of `table` that stay readable. `entries`: when each entry of its log was
    /// put, as far as a list showed before.
    async fn files_needed(
        &self,
        table: &TableName,
        entries: &BTreeMap<u64, DateTime<Utc>>,
        pinned: &HashSet<(TableName, u64)>,
        cutoff: DateTime<Utc>,
    ) -> Result<HashSet<Path>> {
        let pinned: BTreeSet<u64> =
            pinned.iter().filter(|(name, _)| name == table).map(|(_, version)| *version).collect();
        let Some(newest) = self.newest_version(table).await? else {
            return match pinned.first() {
                None => Ok(HashSet::new()),
                Some(version) => Err(gone(table, *version)),
            };
        };
        if let Some(missing) = pinned.iter().find(|version| **version > newest) {
            return Err(gone(table, *missing));
        }
        // A version was the newest until the next one came. What came after the list is young.
        let young = entries.iter().find(|(_, at)| **at > cutoff).map(|(version, _)| *version);
        let young = young.map(|young| match young.checked_sub(1) {
            Some(before) if entries.contains_key(&before) => before,
            _ => young,
        });
        let listed = entries.last_key_value().map_or(0, |(version, _)| *version);
        let first = young.unwrap_or(listed).min(newest);
        let mut needed = HashSet::new();
        let versions = pinned.into_iter().filter(|version| *version < first).chain([first]);
        for version in versions {
            needed.extend(self.files_of(table, version).await?);
        }
        for version in first + 1..=newest {
            needed.extend(self.files_added(table, version).await?);
        }
        Ok(needed)
    }
}

fn gone(table: &TableName, version: u64) -> Error {
    Error::new(
        codes::LAKE_CORRUPT,
        format!("a release names version {version} of {table}, which is not there"),
    )
    .hint("bring its log back from a backup; nothing of the table was removed")
}

/// What a load names.
fn objects_of(source: &Name, load: &Manifest) -> Result<Vec<Path>> {
    let files = load.files.iter().filter(|file| file.in_place.is_none()).map(|file| &file.path);
    files.chain(&load.quarantine).map(|path| raw_path(source, path)).collect()
}

/// Whether this is a name that Lagar gives to a data file, a raw file or a probe.
pub(super) fn is_ours(object: &Path) -> bool {
    let parts: Vec<String> = object.parts().map(|part| part.as_ref().to_owned()).collect();
    match parts.first().map(String::as_str) {
        Some("raw") => is_raw_file(parts.get(2..).unwrap_or_default()),
        Some("trusted" | "refined") => id_of(object.as_ref()).is_some(),
        Some(PROBES) => true,
        _ => false,
    }
}

/// Whether this is a name that a load writer gives: `load_date=…/<load>-<n>.<ext>` or
/// `_quarantine/<load>.ndjson`.
fn is_raw_file(parts: &[String]) -> bool {
    let [folder, name] = parts else { return false };
    let id = name.get(..36).and_then(|id| id.parse::<Uuid>().ok());
    let rest = name.get(36..).unwrap_or_default();
    match folder.as_str() {
        "_quarantine" => id.is_some() && rest == ".ndjson",
        folder => id.is_some() && folder.starts_with("load_date=") && rest.starts_with('-'),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_our_own_making_are_ours() {
        let ours = |path: &str| is_raw_file(&path.split('/').map(str::to_owned).collect::<Vec<_>>());
        let id = "019a9f0c-7a3e-7000-8000-000000000001";
        for name in
            ["load_date=2026-11-22/ID-1.json", "load_date=2026-11-22/ID-12.csv.gz", "_quarantine/ID.ndjson"]
        {
            assert!(ours(&name.replace("ID", id)), "{name}");
        }
        for name in [
            "_loads/00000000000000000001.json",
            "_quarantine/refused.json",
            "load_date=2026-11-22/notes.json",
            "load_date=2026-11-22/ID.json",
            "load_date=2026-11-22/deeper/ID-1.json",
            "other/ID-1.json",
            "ID-1.json",
            "load_date=2026-11-22/ääääääääääääääääääääääääääääääääääää-1.json",
        ] {
            assert!(!ours(&name.replace("ID", id)), "{name}");
        }
        assert!(id_of(&format!("trusted/x/a=1/part-{id}.zstd.parquet")).is_some());
        for name in [format!("part-{id}.parquet"), "part-1.zstd.parquet".into(), format!("{id}.zstd.parquet")]
        {
            assert!(id_of(&name).is_none(), "{name}");
        }
    }
}
