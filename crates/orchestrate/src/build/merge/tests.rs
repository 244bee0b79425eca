use std::{fs, sync::Arc};

use arrow::array::{ArrayRef, Int64Array};
use lagar_flow::{Clock, FixedClock, codes};
use lagar_lake::{Lake, Root};
use object_store::memory::InMemory;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    project::{LoadOptions, Project},
    report::StepKind,
    run::{RunOptions, Unwatched},
    workplace::{Scratch, Workplace},
};

const YAML: &str = "name: counted\nsources:\n  items: {type: file, url: items.csv}\n";
const MODEL: &str = "/*---\nmaterialize: merge\nkey: [id]\nlatest_by: [at]\nincremental: raw.items\n---*/\nSELECT id, at FROM raw.items\n";

/// `id` and `at` of rows.
type Rows<'a> = &'a [(i64, i64)];

/// A run of a project with one merged table, in the middle of it.
struct Place {
    context: Context,
    // They are gone when it is.
    _scratch: Scratch,
    _dir: TempDir,
}

impl Place {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("lagar.yaml"), YAML).unwrap();
        fs::create_dir(dir.path().join("trusted")).unwrap();
        fs::write(dir.path().join("trusted/t.sql"), MODEL).unwrap();
        let location = dir.path().display().to_string();
        let project = Project::load(&location, LoadOptions::with_env(BTreeMap::new())).await.unwrap();
        let clock: Arc<dyn Clock> = Arc::new(FixedClock::new("2026-11-30T12:00:00Z".parse().unwrap()));
        let root = Root { url: "memory".to_owned(), local: None };
        let lake = Lake::with_store(Arc::new(InMemory::new()), root, clock.clone());
        let workplace = Workplace::with_lake(Arc::new(project), lake, clock);
        let scratch = workplace.scratch().unwrap();
        let engine = workplace.engine(&scratch).unwrap();
        let options = RunOptions {
            select: Vec::new(),
            full_refresh: false,
            partitions: Vec::new(),
            retry: BTreeSet::new(),
            seed: 0,
            cancel: CancellationToken::new(),
            watcher: Arc::new(Unwatched),
        };
        let context = Context::new(&workplace, &scratch, engine, &options, "run").await.unwrap();
        Self { context, _scratch: scratch, _dir: dir }
    }

    fn model(&self) -> &Model {
        self.context.project.models.values().next().unwrap()
    }

    /// A file of `rows`, which are so many by what the log says.
    async fn staged(&self, rows: Rows<'_>, said: u64) -> Staged {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)));
        let ats: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1)));
        let batch = RecordBatch::try_from_iter([("id", ids), ("at", ats)]).unwrap();
        let schema = batch.schema();
        let mut writer = begin(&self.context, self.model(), &schema).unwrap();
        writer.write(&batch).await.unwrap();
        let mut files = writer.finish().await.unwrap();
        assert_eq!((files.len(), files[0].rows), (1, rows.len() as u64));
        files[0].rows = said;
        Staged { schema, files }
    }

    /// The rows of the version that comes of `new` rows over `old` ones.
    async fn merge(&self, old: Staged, new: Staged) -> Result<u64> {
        let base = Table {
            name: self.model().name.clone(),
            version: 0,
            schema: delta_schema(&old.schema)?,
            partition_by: Vec::new(),
            column_docs: BTreeMap::new(),
            files: old.files,
            meta: None,
            committed_at: self.context.clock.now(),
        };
        let mut report = StepReport::new("trusted.t", StepKind::Model);
        let next = onto(&self.context, self.model(), Some(&base), new, &mut report).await?;
        Ok(next.staged.rows())
    }
}

#[track_caller]
fn is_defect(error: &Error, why: &str) {
    assert_eq!(error.code(), codes::BUG, "{error}");
    assert!(error.message().contains(why), "{error}");
}

/// What the log says of a file is wrong by one row, as when the merge had lost one or written it twice.
#[tokio::test]
async fn a_version_with_more_or_fewer_rows_than_there_must_be_is_refused() {
    let place = Place::new().await;
    let (old, new) = ([(1, 1), (2, 1), (3, 1)], [(2, 2), (4, 2)]);
    for (said_old, said_new, why) in [
        (4, 2, "4 rows and 1 new ones became 4"),
        (2, 2, "2 rows and 1 new ones became 4"),
        (3, 3, "3 rows and 2 new ones became 4"),
        (3, 1, "3 rows and 0 new ones became 4"),
    ] {
        let (old, new) = (place.staged(&old, said_old).await, place.staged(&new, said_new).await);
        let error = place.merge(old, new).await.unwrap_err();
        is_defect(&error, &format!("`trusted.t` was not merged: {why}"));
    }
    let (old, new) = (place.staged(&old, 3).await, place.staged(&new, 2).await);
    assert_eq!(place.merge(old, new).await.unwrap(), 4);
}

/// A key that is there twice is there once when its file was written again.
#[tokio::test]
async fn a_row_that_is_left_out_is_missed() {
    let place = Place::new().await;
    for (old, new, why) in [
        (&[(1, 1), (3, 1), (3, 1)][..], &[(1, 2)][..], "not merged: 3 rows and 0 new ones became 2"),
        (&[(1, 1), (2, 1)][..], &[(2, 2), (4, 2), (4, 2)][..], "not merged: 2 rows and 2 new ones became 3"),
        (&[(1, 1), (1, 1)][..], &[(1, 2)][..], "2 of 1 new keys are there already, 2 of them change"),
        (&[(1, 1), (2, 1)][..], &[(2, 2), (2, 3)][..], "1 of 2 new keys are there already, 2 of them change"),
    ] {
        let old = place.staged(old, old.len() as u64).await;
        let new = place.staged(new, new.len() as u64).await;
        is_defect(&place.merge(old, new).await.unwrap_err(), why);
    }
}
