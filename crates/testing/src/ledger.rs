//! What lies in a lake, as programs see it that are not Lagar.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::{Path as FilePath, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Mutex, PoisonError},
};

use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt};
use serde_json::Value;

const SCRIPT: &str = include_str!("ledger.py");

/// A Python process that reads lakes with delta-rs, DuckDB and pyarrow. The rows that should be there are
/// known to the test, from outside the system.
#[derive(Debug)]
pub struct Ledger {
    child: Child,
    pipes: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
}

impl Ledger {
    /// `None` without `LAGAR_TEST_PYTHON`; the test says `skipped: …` then.
    ///
    /// # Panics
    /// The interpreter that it names cannot be started.
    pub fn start() -> Option<Self> {
        let python = PathBuf::from(env::var_os("LAGAR_TEST_PYTHON")?);
        let child =
            Command::new(&python).args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child =
            child.unwrap_or_else(|error| panic!("LAGAR_TEST_PYTHON={}: {error}", python.display()));
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            panic!("a child without the pipes that were asked for");
        };
        Some(Self { child, pipes: Mutex::new((stdin, BufReader::new(stdout))) })
    }

    /// What is wrong with the lake in a folder; see `ledger.py` for the words of a question.
    ///
    /// # Panics
    /// The readers do not answer.
    pub fn wrong(&self, question: &Value) -> Vec<String> {
        let mut pipes = self.pipes.lock().unwrap_or_else(PoisonError::into_inner);
        let (stdin, stdout) = &mut *pipes;
        let mut answer = String::new();
        let asked = writeln!(stdin, "{question}").and_then(|()| stdout.read_line(&mut answer));
        match asked.map(|_| serde_json::from_str(&answer)) {
            Ok(Ok(wrong)) => wrong,
            other => panic!("the other readers answer {answer:?}: {other:?}"),
        }
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
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
