//! What the readers of a lake's records are fuzzed with. The fuzz targets and `crates/lake/tests/corpus.rs`
//! run these same functions.

use std::sync::{Arc, LazyLock};

use lagar_flow::{Name, SystemClock};
use lagar_lake::{Lake, Root, fuzzed};
use object_store::{ObjectStore, ObjectStoreExt, memory::InMemory, path::Path};

/// The name of a corpus and what it is fed to.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const ALL: &[Target] =
    &[("manifest", manifest), ("release", release), ("delta_log", delta_log), ("partition", partition)];

static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
});

/// A lake with one object.
async fn lake(path: &str, data: &[u8]) -> Lake {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    store.put(&Path::from(path), data.to_vec().into()).await.expect("memory takes everything");
    Lake::with_store(store, Root { url: "memory".into(), local: None }, Arc::new(SystemClock))
}

fn name() -> Name {
    "items".parse().expect("a name")
}

pub fn manifest(data: &[u8]) {
    RUNTIME.block_on(async {
        let lake = lake("raw/items/_loads/00000000000000000001.json", data).await;
        let Ok(loads) = lake.loads(&name()).await else { return };
        for load in loads {
            let _ = lagar_flow::schema_of(&load.columns);
            let _ = lake.rejects(&name(), &load).await;
            // Where it says that its files are must be below its source, or be refused.
            for file in load.files.iter().filter(|file| file.in_place.is_none()) {
                let _ = lake.raw_body(&name(), file, std::path::Path::new("/nowhere")).await;
            }
        }
    });
}

pub fn release(data: &[u8]) {
    RUNTIME.block_on(async {
        let lake = lake("releases/00000000000000000001.json", data).await;
        let _ = lake.releases().await;
        let _ = lake.current_release().await;
    });
}

/// One entry, the first of a log.
pub fn delta_log(data: &[u8]) {
    RUNTIME.block_on(async {
        let lake = lake("trusted/items/_delta_log/00000000000000000000.json", data).await;
        let table = "trusted.items".parse().expect("a table");
        let Ok(Some(version)) = lake.table(&table, None).await else { return };
        let folder = lake.table_folder(&table);
        for file in &version.files {
            if let Ok(path) = lake.file_path(&table, file) {
                assert!(path.prefix_match(&folder).is_some(), "{path} is outside of {folder}");
            }
        }
    });
}

/// Column, value, column, value …, one a line: the folder's name tells them apart, and leads nowhere else.
pub fn partition(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let parts: Vec<&str> = text.split('\n').filter(|part| !part.is_empty()).collect();
    let levels: Vec<(String, Option<String>)> =
        parts.chunks_exact(2).map(|pair| (pair[0].to_owned(), Some(pair[1].to_owned()))).collect();
    if levels.is_empty() {
        return;
    }
    let folder = fuzzed::partition_folder(&levels);
    assert_eq!(folder.split('/').count(), levels.len(), "one folder a level: {folder}");
    for (level, (column, value)) in folder.split('/').zip(&levels) {
        let (name, text) = level.split_once('=').expect("a folder is named column=value");
        assert_eq!((unescaped(name), Some(unescaped(text))), (column.clone(), value.clone()), "{folder}");
    }
    // An object can have this name, and it is this very name.
    let path = Path::parse(format!("trusted/items/{folder}/x.parquet")).expect("the name of an object");
    assert_eq!(path.as_ref(), format!("trusted/items/{folder}/x.parquet"));
}

/// `%41` → `A`, as Hive reads it.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        bytes.extend(&rest.as_bytes()[..at]);
        let hex = rest.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(hex.expect("a percent sign is escaped itself"));
        rest = &rest[at + 3..];
    }
    bytes.extend(rest.as_bytes());
    String::from_utf8(bytes).expect("only single ASCII characters are escaped")
}
