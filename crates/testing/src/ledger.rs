//! What lies in a lake, as programs see it that are not Lagar.

use std::path::Path as FilePath;

use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt};
use serde_json::Value;

use crate::Peer;

/// delta-rs, DuckDB and pyarrow, which read lakes. The rows that should be there are known to the test, from
/// outside the system.
#[derive(Debug)]
pub struct Ledger(Peer);

impl Ledger {
    /// `None` without `LAGAR_TEST_PYTHON`; the test says `skipped: …` then.
    ///
    /// # Panics
    /// The interpreter that it names cannot be started.
    pub fn start() -> Option<Self> {
        Peer::start(include_str!("ledger.py")).map(Self)
    }

    /// What is wrong with the lake in a folder; see `ledger.py` for the words of a question.
    ///
    /// # Panics
    /// The readers do not answer.
    #[track_caller]
    pub fn wrong(&self, question: &Value) -> Vec<String> {
        let answer = self.0.ask(question);
        serde_json::from_value(answer).unwrap_or_else(|error| panic!("an answer of other readers: {error}"))
    }
}

/// Copies all objects of `store` into `folder`, for readers that need files.
///
/// # Panics
/// Something cannot be read or written.
pub async fn dump(store: &dyn ObjectStore, folder: &FilePath) {
    let copied = async {
        let objects: Vec<_> = store.list(None).try_collect().await?;
        for meta in objects {
            let bytes = store.get(&meta.location).await?.bytes().await?;
            let path =
                meta.location.parts().fold(folder.to_path_buf(), |path, part| path.join(part.as_ref()));
            let written = path.parent().map_or(Ok(()), std::fs::create_dir_all);
            if let Err(error) = written.and_then(|()| std::fs::write(&path, &bytes)) {
                panic!("{}: {error}", path.display());
            }
        }
        Ok::<(), object_store::Error>(())
    };
    if let Err(error) = copied.await {
        panic!("{error}");
    }
}
