//! Pages over a server whose answers go wrong as a seed says: all rows, or an error with a name.

use std::sync::Arc;

use lagar_flow::{Blame, Error, codes};
use lagar_testing::{
    Battery,
    http::{FaultHttp, Request, Server},
    long, mix, replay, seeds,
};
use serde_json::{Value, json};

use crate::support::{assert_no_spool_file, cx, read, source, texts};

const ROWS: usize = 37;
const PAGE: usize = 5;

type Headers = Vec<(String, String)>;

/// A way to get from page to page: its `pages`, and what the server writes for the rows from `start`.
struct Way {
    pages: Value,
    /// Where the page begins that `request` asks for.
    start: fn(&Request) -> usize,
    /// Headers and what stands beside the rows, where the next page begins at `next`.
    next: fn(Option<usize>) -> (Headers, Value),
}

fn number(request: &Request, name: &str) -> usize {
    request.parameter(name).map_or(0, |value| value.parse().unwrap())
}

fn ways() -> Vec<Way> {
    let none = |_| (Vec::new(), json!({}));
    let marked = |next: Option<usize>| (Vec::new(), json!({"next": next.map(|n| n.to_string())}));
    let address =
        |next: Option<usize>| (Vec::new(), json!({"next": next.map(|n| format!("/items?from={n}"))}));
    let linked = |next: Option<usize>| {
        let link = next.map(|n| ("Link".to_owned(), format!("</items?from={n}>; rel=next")));
        (link.into_iter().collect(), json!({}))
    };
    vec![
        Way {
            pages: json!({"type": "offset", "size": PAGE}),
            start: |request| number(request, "offset"),
            next: none,
        },
        Way {
            pages: json!({"type": "page", "size": PAGE, "first": 0}),
            start: |request| number(request, "page") * PAGE,
            next: none,
        },
        // The server never gives as much as it is asked for.
        Way {
            pages: json!({"type": "offset", "size": 4 * PAGE}),
            start: |request| number(request, "offset"),
            next: none,
        },
        Way {
            pages: json!({"type": "cursor", "next": "$.next", "param": "from"}),
            start: |request| number(request, "from"),
            next: marked,
        },
        Way {
            pages: json!({"type": "next_url", "next": "$.next"}),
            start: |request| number(request, "from"),
            next: address,
        },
        Way { pages: json!({"type": "link"}), start: |request| number(request, "from"), next: linked },
    ]
}

/// Reads all pages once; the ids in their order, and how many answers went wrong.
async fn walk(way: Way, seed: u64, percent: u64) -> (Result<Vec<u64>, Error>, u64) {
    let faults = Arc::new(FaultHttp::around(mix(seed), percent, r#"{"data": []}"#));
    let plan = faults.clone();
    let server = Server::new(move |n, request| {
        let start = (way.start)(request).min(ROWS);
        let end = (start + PAGE).min(ROWS);
        let (headers, mut body) = (way.next)((end < ROWS).then_some(end));
        body["data"] = (start..end).map(|id| json!({"id": id, "text": format!("row {id}")})).collect();
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        plan.answer(n, &headers, &body.to_string())
    });
    let config = json!({
        "url": format!("{}/items", server.url), "rows": "$.data[*]", "pages": way.pages,
        "retry": {"attempts": 4, "wait": "1ms", "max_wait": "2ms"}, "timeout": {"read": "2s", "total": "5s"},
    });
    let dir = tempfile::tempdir().unwrap();
    let cx = cx(dir.path());
    let outcome = read(&*source("rest", config), &cx, None).await;
    let found = outcome.and_then(|(chunks, _)| {
        if let Some(reject) = chunks.iter().flat_map(|chunk| &chunk.rejects).next() {
            // The load fails with it, unless the project says otherwise.
            return Err(Error::new(codes::REJECTED, reject.reason.clone()));
        }
        let ids = texts(&chunks).into_iter().flat_map(|text| {
            let page: Value = serde_json::from_str(&text).unwrap();
            page["data"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|row| row["id"].as_u64().unwrap())
                .collect::<Vec<_>>()
        });
        let ids: Vec<u64> = ids.collect();
        if ids.is_empty() {
            // A first page without rows is a note; `require_rows` makes it this error.
            return Err(Error::new(codes::SOURCE_EMPTY, "no rows"));
        }
        Ok(ids)
    });
    assert_no_spool_file(&cx);
    (found, faults.hits())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_over_answers_that_go_wrong_are_whole_or_an_error() {
    let mut battery = Battery::new("S2");
    // Each case leaves a server behind, and a process may have some thousand files open.
    let count = if long() { 500 } else { 30 };
    let cases = seeds(count).into_iter().map(|seed| {
        let line = replay(
            "lagar-connectors",
            "sources",
            "pages_over_answers_that_go_wrong_are_whole_or_an_error",
            &[("LAGAR_SEED", seed)],
        );
        let case = async move {
            let (mut whole, mut failed, mut hits) = (0, 0, 0);
            for (percent, way) in
                [5, 20].into_iter().flat_map(|percent| ways().into_iter().map(move |w| (percent, w)))
            {
                let name = format!("SEED={seed} {percent} % {}", way.pages);
                let (found, hit) = walk(way, seed, percent).await;
                hits += hit;
                match found {
                    Ok(ids) => {
                        whole += 1;
                        assert_eq!(ids, (0..ROWS as u64).collect::<Vec<_>>(), "{name}");
                    }
                    Err(error) => {
                        failed += 1;
                        let blame = error.blame();
                        assert!(matches!(blame, Blame::Data | Blame::Outside), "{name}: {error:?}");
                        assert!(hit > 0, "{name}: {error:?} without a fault");
                    }
                }
            }
            (whole, failed, hits)
        };
        (line, case)
    });
    let cases: Vec<_> = cases.collect();
    let is_replay = cases.len() == 1;
    let found = battery.all(4, cases).await;
    let sum = found.iter().fold((0, 0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1, sum.2 + one.2));
    println!("{} walks were whole, {} ended with an error, {} answers went wrong", sum.0, sum.1, sum.2);
    // Faults must have been overcome, and some must have been too much.
    assert!(is_replay || (sum.0 > 100 && sum.1 > 20 && sum.2 > 200), "{sum:?}");
}
