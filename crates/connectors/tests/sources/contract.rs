//! What every source must do, whatever it reads from.

use std::collections::BTreeSet;

use lagar_connectors::{Chunks, KINDS, decode};
use lagar_flow::{Chunk, Format, Scope, codes};
use serde_json::{Value, json};

use crate::support::{
    assert_no_spool_file, bytes_of, cx, load, load_scoped, nothing, read,
    server::{Server, ok},
    source,
};

/// A source with something to read and secrets in its configuration.
pub struct Fixture {
    pub kind: &'static str,
    pub config: Value,
    /// Of the loads after the first.
    pub scope: Scope,
    /// Texts that must not be seen anywhere.
    pub secrets: Vec<&'static str>,
    /// The project's folder.
    pub dir: tempfile::TempDir,
}

/// Every source brings one fixture at least.
fn fixtures() -> Vec<Fixture> {
    vec![
        local_file(),
        files_of_a_folder(),
        http_file(),
        rest_pages(),
        rest_saved(),
        crate::sql::table(),
        crate::sql::table_by_cursor(),
    ]
}

fn fixture(kind: &'static str, config: Value) -> Fixture {
    let scope = if kind == "file" { Scope::Files } else { Scope::Snapshot };
    Fixture { kind, config, scope, secrets: Vec::new(), dir: tempfile::tempdir().unwrap() }
}

fn local_file() -> Fixture {
    let fixture = fixture("file", json!({"url": "cities.csv"}));
    std::fs::write(fixture.dir.path().join("cities.csv"), "id,name\n1,Medellín\n2,Bogotá\n").unwrap();
    fixture
}

fn files_of_a_folder() -> Fixture {
    let fixture = fixture("file", json!({"url": "in/*.ndjson"}));
    std::fs::create_dir(fixture.dir.path().join("in")).unwrap();
    for n in 0..3 {
        let rows = format!("{{\"id\": {n}}}\n{{\"id\": {n}, \"extra\": \"x\"}}\nnot json\n");
        std::fs::write(fixture.dir.path().join(format!("in/{n}.ndjson")), rows).unwrap();
    }
    fixture
}

fn http_file() -> Fixture {
    let server = Server::new(|_, _| ok("a;b\n1;2,5\n"));
    let url = format!("{}/x.csv?token=canary-query", server.url.replace("http://", "http://me:canary-user@"));
    Fixture {
        secrets: vec!["canary-query", "canary-user"],
        ..fixture("file", json!({"url": url, "csv": {"delimiter": ";", "decimal": ","}}))
    }
}

fn rest_pages() -> Fixture {
    let server = Server::new(|_, request| {
        let page = request.target.split("page=").nth(1).and_then(|rest| rest.split('&').next());
        let page: u64 = page.unwrap().parse().unwrap();
        let rows: Vec<Value> = (0..[2, 2, 2, 1].get(page as usize).copied().unwrap_or(0))
            .map(|n| json!({"id": page * 10 + n}))
            .collect();
        ok(json!({"data": rows}).to_string())
    });
    Fixture {
        secrets: vec!["canary-key", "canary-header", "canary-param"],
        config: json!({
            "url": format!("{}/items", server.url),
            "rows": "$.data[*]",
            "headers": {"X-App-Token": "canary-header"},
            "params": {"secret": "canary-param"},
            "auth": {"api_key": {"query": "appid", "value": "canary-key"}},
            "pages": {"type": "page", "size": 2},
        }),
        ..fixture("rest", Value::Null)
    }
}

fn rest_saved() -> Fixture {
    let fixture = Fixture {
        secrets: vec!["canary-field"],
        ..fixture("rest", json!({"url": "file:api/users", "redact": ["password"], "params": {"limit": 5}}))
    };
    std::fs::create_dir(fixture.dir.path().join("api")).unwrap();
    let users = r#"[{"id": 1, "password": "canary-field"}, {"id": 2, "name": {"password": "canary-field"}}]"#;
    std::fs::write(fixture.dir.path().join("api/users.json"), users).unwrap();
    fixture
}

/// All of a chunk that two equal reads must agree on.
fn essence(chunk: &Chunk) -> impl PartialEq + std::fmt::Debug + use<> {
    let file = &chunk.file;
    (
        bytes_of(&file.body),
        file.rows,
        file.bytes,
        file.sha256.clone(),
        file.schema.clone(),
        chunk.rejects.clone(),
    )
}

#[test]
fn every_kind_has_a_fixture_a_summary_and_a_schema() {
    let tested: BTreeSet<&str> = fixtures().iter().map(|fixture| fixture.kind).collect();
    for kind in KINDS {
        assert!(tested.contains(kind.name), "no fixture for `{}`", kind.name);
        assert!(!kind.summary.is_empty());
        let schema = (kind.schema)();
        assert_eq!(
            schema.get("additionalProperties"),
            Some(&json!(false)),
            "{} takes unknown keys",
            kind.name
        );
        assert!(schema.get("properties").is_some_and(|p| p.get("url").is_some()), "{}", kind.name);
    }
}

#[tokio::test]
async fn an_unknown_key_is_refused_by_name() {
    for fixture in fixtures() {
        let mut config = fixture.config.clone();
        config["urll"] = json!("x");
        let error = crate::support::config_error(fixture.kind, config);
        assert!(error.message.contains("urll") && error.message.contains("`url`"), "{error:?}");
    }
}

#[tokio::test]
async fn a_first_read_is_all_that_the_source_has() {
    for fixture in fixtures() {
        let (source, cx) = (source(fixture.kind, fixture.config.clone()), cx(fixture.dir.path()));
        let (_, _, scope) = load_scoped(&*source, &cx, None).await;
        assert_eq!(scope, Scope::Snapshot, "{}", fixture.config);
    }
}

/// Files take the place of those with the same origin: it has to be the same in every load.
#[tokio::test]
async fn a_file_has_the_same_origin_in_every_load() {
    for fixture in fixtures().into_iter().filter(|fixture| fixture.scope == Scope::Files) {
        let (source, cx) = (source(fixture.kind, fixture.config.clone()), cx(fixture.dir.path()));
        let origins = |chunks: Vec<Chunk>| -> Vec<String> {
            chunks.into_iter().map(|chunk| chunk.file.origin.url).collect()
        };
        let first = origins(load(&*source, &cx, None).await.0);
        let unique: BTreeSet<&String> = first.iter().collect();
        assert_eq!(unique.len(), first.len(), "{first:?}");
        assert_eq!(origins(load(&*source, &cx, None).await.0), first);
    }
}

#[tokio::test]
async fn a_second_read_finds_nothing_and_says_why() {
    for fixture in fixtures() {
        let (source, cx) = (source(fixture.kind, fixture.config.clone()), cx(fixture.dir.path()));
        let (chunks, position) = load(&*source, &cx, None).await;
        assert!(!chunks.is_empty());
        assert!(!nothing(&*source, &cx, &position).await.is_empty());
        drop(chunks);
        assert_no_spool_file(&cx);
    }
}

#[tokio::test]
async fn a_read_that_was_broken_off_is_done_again_alike() {
    for fixture in fixtures() {
        let (source, cx) = (source(fixture.kind, fixture.config.clone()), cx(fixture.dir.path()));
        let (chunks, receiver) = Chunks::channel(1);
        drop(receiver);
        let error = source.read(&cx, None, &chunks).await.unwrap_err();
        assert_eq!(error.code(), codes::STOPPED);
        let (first, position) = load(&*source, &cx, None).await;
        let (second, same_position) = load(&*source, &cx, None).await;
        assert_eq!(
            first.iter().map(essence).collect::<Vec<_>>(),
            second.iter().map(essence).collect::<Vec<_>>()
        );
        assert_eq!(position, same_position);
    }
}

#[tokio::test]
async fn what_a_chunk_says_about_its_rows_is_what_the_decoder_reads() {
    for fixture in fixtures() {
        let (source, cx) = (source(fixture.kind, fixture.config.clone()), cx(fixture.dir.path()));
        for chunk in load(&*source, &cx, None).await.0 {
            assert_eq!(chunk.file.bytes, bytes_of(&chunk.file.body).len() as u64);
            assert_eq!(chunk.file.sha256.as_ref().unwrap().len(), 64);
            let format: &Format = &chunk.file.format;
            assert!(chunk.file.extension.starts_with(format.kind.extension()));
            let decoded =
                decode::read(&chunk.file.body, format, chunk.file.schema.clone(), Default::default());
            let (mut rows, mut rejects) = (0, 0);
            for batch in decoded.unwrap() {
                let batch = batch.unwrap();
                rows += batch.batch.num_rows() as u64;
                rejects += batch.rejects.len();
            }
            assert_eq!(
                (Some(rows), rejects),
                (chunk.file.rows, chunk.rejects.len()),
                "{}",
                chunk.file.origin.url
            );
            assert!(rows > 0);
        }
    }
}

#[tokio::test]
async fn no_secret_is_shown_or_stored() {
    for fixture in fixtures() {
        let (source, cx) = (source(fixture.kind, fixture.config.clone()), cx(fixture.dir.path()));
        let (chunks, position) = load(&*source, &cx, None).await;
        let shown = format!("{} {chunks:?} {position:?}", source.address());
        for secret in &fixture.secrets {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
    }
}

#[tokio::test]
async fn a_stopped_run_reads_nothing() {
    for fixture in fixtures() {
        let (source, cx) = (source(fixture.kind, fixture.config.clone()), cx(fixture.dir.path()));
        cx.cancel.cancel();
        assert_eq!(read(&*source, &cx, None).await.unwrap_err().code(), codes::STOPPED);
    }
}
