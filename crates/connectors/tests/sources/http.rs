//! Servers as they are: slow, broken, moved, hostile.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use flate2::{Compression, write::GzEncoder};
use lagar_connectors::Outcome;
use lagar_flow::{Blame, Error, codes};
use serde_json::{Value, json};

use crate::support::{
    cx, failure, load, nothing, read,
    server::{Reply, Server, head, ok, reply},
    source, texts,
};

/// A REST source with quick retries, and `more` keys.
fn config(url: &str, more: Value) -> Value {
    let mut config = json!({"url": url, "retry": {"attempts": 3, "wait": "1ms", "max_wait": "5ms"}});
    for (key, value) in more.as_object().unwrap() {
        config[key] = value.clone();
    }
    config
}

/// The error of reading from a server that always gives the same reply.
async fn refusal(answer: Reply, more: Value) -> (Error, usize) {
    let server = Server::script(vec![answer]);
    let dir = tempfile::tempdir().unwrap();
    let error = failure(&*source("rest", config(&server.url, more)), &cx(dir.path())).await;
    (error, server.requests().len())
}

/// What is loaded from a server that gives these replies.
async fn success(replies: Vec<Reply>, more: Value) -> (String, usize) {
    let server = Server::script(replies);
    let dir = tempfile::tempdir().unwrap();
    let (chunks, _) = load(&*source("rest", config(&server.url, more)), &cx(dir.path()), None).await;
    (texts(&chunks).concat(), server.requests().len())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn temporary_answers_are_tried_again() {
    for status in [202, 408, 425, 429, 500, 502, 503, 504] {
        let replies = vec![reply(status, &[], "busy"), reply(status, &[], ""), ok("[1]")];
        assert_eq!(success(replies, json!({})).await, ("[1]".to_owned(), 3), "{status}");
        let (error, requests) = refusal(reply(status, &[], ""), json!({})).await;
        assert_eq!((error.code(), requests), (codes::HTTP_TEMPORARY, 3), "{status}");
        assert_eq!(error.blame(), Blame::Outside);
        assert!(error.message().contains("gave up after 3 attempts"), "{error}");
        assert!(error.message().contains(&status.to_string()), "{error}");
    }
}

#[tokio::test]
async fn refusals_are_not_tried_again_and_quote_the_server() {
    let (error, requests) = refusal(reply(404, &[], "no such\n\x1b[31mthing"), json!({})).await;
    assert_eq!((error.code(), requests), (codes::HTTP_STATUS, 1));
    assert!(error.message().ends_with(r"answered 404 Not Found: no such\n\u{1b}[31mthing"), "{error}");
    let (error, _) = refusal(reply(400, &[], "ñ".repeat(1000)), json!({})).await;
    assert!(error.message().ends_with(&format!(": {}…", "ñ".repeat(300))), "{error}");
    for status in [401, 403] {
        let (error, requests) = refusal(reply(status, &[], ""), json!({})).await;
        assert_eq!((error.code(), requests), (codes::AUTH, 1));
        assert!(error.hint_text().unwrap().contains("`auth`"));
    }
    for status in [501, 206, 300] {
        let (error, requests) = refusal(reply(status, &[], "x"), json!({})).await;
        assert_eq!((error.blame(), requests), (Blame::Data, 1), "{status}");
    }
    let (error, _) = refusal(reply(304, &[], ""), json!({})).await;
    assert_eq!(error.code(), codes::HTTP_ANSWER);
}

#[tokio::test]
async fn retry_after_is_honoured_up_to_the_longest_wait() {
    for (asked, at_least, at_most) in [("1", 1.0, 10.0), ("3600", 0.2, 10.0)] {
        let server = Server::script(vec![reply(429, &[("Retry-After", asked)], ""), ok("[1]")]);
        let max_wait = if asked == "1" { "60s" } else { "200ms" };
        let config = config(&server.url, json!({"retry": {"wait": "1ms", "max_wait": max_wait}}));
        let dir = tempfile::tempdir().unwrap();
        let start = Instant::now();
        load(&*source("rest", config), &cx(dir.path()), None).await;
        let seconds = start.elapsed().as_secs_f64();
        assert!((at_least..at_most).contains(&seconds), "{asked}: {seconds}");
    }
}

#[tokio::test]
async fn a_date_in_retry_after_is_compared_with_our_clock() {
    // The clock of the test stands at 12:00:00.
    let date = "Sat, 21 Nov 2026 12:00:01 GMT";
    let server = Server::script(vec![reply(503, &[("Retry-After", date)], ""), ok("[1]")]);
    let dir = tempfile::tempdir().unwrap();
    let start = Instant::now();
    load(&*source("rest", json!({"url": server.url})), &cx(dir.path()), None).await;
    assert!(start.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_body_cut_short_is_tried_again() {
    let short = reply(200, &[("Content-Length", "100")], "[1,");
    assert_eq!(success(vec![short.clone(), ok("[1]")], json!({})).await, ("[1]".to_owned(), 2));
    let (error, requests) = refusal(short, json!({})).await;
    assert_eq!((error.code(), requests), (codes::HTTP_TEMPORARY, 3));
    let chunked = Reply::bytes(head(200, &[("Transfer-Encoding", "chunked")]) + "5\r\n[1,2]\r\n");
    assert_eq!(refusal(chunked, json!({})).await.0.code(), codes::HTTP_TEMPORARY);
    let packed = gzip(b"[1,2,3]");
    let cut = reply(200, &[("Content-Encoding", "gzip")], &packed[..packed.len() - 6]);
    assert_eq!(refusal(cut, json!({})).await.0.code(), codes::HTTP_TEMPORARY);
}

#[tokio::test]
async fn a_server_that_never_answers_is_left() {
    let timeout = json!({"timeout": {"read": "100ms"}});
    let (error, requests) = refusal(Reply::silence(), timeout).await;
    assert_eq!((error.code(), requests), (codes::HTTP_TEMPORARY, 3));
    assert!(error.message().contains("100ms"), "{error}");
    let (error, _) = refusal(Reply::silence(), json!({"timeout": {"total": "100ms"}})).await;
    assert!(error.message().contains("was not done within 100ms"), "{error}");
}

#[tokio::test]
async fn nobody_there_is_temporary() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let dir = tempfile::tempdir().unwrap();
    let config = config(&format!("http://127.0.0.1:{port}/x?token=canary"), json!({}));
    let error = failure(&*source("rest", config), &cx(dir.path())).await;
    assert_eq!(error.code(), codes::HTTP_TEMPORARY);
    assert!(
        error.message().contains(&format!("cannot connect to http://127.0.0.1:{port}/x?token=***")),
        "{error}"
    );
    assert!(!format!("{error:?}").contains("canary"));
}

#[tokio::test]
async fn what_is_not_http_is_temporary_too() {
    let (error, requests) = refusal(Reply::bytes("SSH-2.0-OpenSSH\r\n"), json!({})).await;
    assert_eq!((error.code(), requests), (codes::HTTP_TEMPORARY, 3));
}

#[tokio::test]
async fn an_answer_is_limited_packed_or_not() {
    let limit = json!({"max_bytes": "1KiB"});
    let large = format!("[{}1]", "1,".repeat(1000));
    for answer in [
        ok(&large),
        reply(200, &[("Content-Encoding", "gzip")], gzip(large.as_bytes())),
        reply(200, &[("Content-Length", "999999999999")], "["),
    ] {
        let (error, requests) = refusal(answer, limit.clone()).await;
        assert_eq!((error.code(), requests), (codes::TOO_LARGE, 1));
        assert!(error.message().contains("1 KiB"), "{error}");
    }
    // 16 MiB of spaces in 16 KiB.
    let bomb = reply(200, &[("Content-Encoding", "gzip")], gzip(&vec![b' '; 16 << 20]));
    let (error, _) = refusal(bomb, json!({"max_bytes": "1MiB"})).await;
    assert_eq!(error.code(), codes::TOO_LARGE);
}

#[tokio::test]
async fn encodings_that_were_not_asked_for() {
    let server = Server::script(vec![reply(200, &[("Content-Encoding", "gzip")], gzip(b"[1, 2]"))]);
    let dir = tempfile::tempdir().unwrap();
    let (chunks, _) = load(&*source("rest", json!({"url": server.url})), &cx(dir.path()), None).await;
    assert_eq!(texts(&chunks), ["[1, 2]"]);
    assert_eq!(server.requests()[0].header("accept-encoding"), Some("identity"));
    let (error, requests) = refusal(reply(200, &[("Content-Encoding", "br")], "x"), json!({})).await;
    assert_eq!((error.code(), requests), (codes::HTTP_ANSWER, 1));
    let (error, requests) = refusal(reply(200, &[("Content-Encoding", "gzip")], "[1, 2]"), json!({})).await;
    assert_eq!((error.code(), requests), (codes::HTTP_ANSWER, 1));
}

#[tokio::test]
async fn redirects_are_followed_a_few_times_and_only_to_http() {
    let moved = |to: &str| reply(302, &[("Location", to)], "");
    assert_eq!(success(vec![moved("/a"), moved("b?c"), ok("[1]")], json!({})).await, ("[1]".to_owned(), 3));
    let (error, requests) = refusal(moved("/again"), json!({})).await;
    assert_eq!((error.code(), requests), (codes::HTTP_ANSWER, 11));
    for to in ["file:///etc/passwd", "ftp://a.example/x", "javascript:alert(1)", "http://[bad"] {
        let (error, requests) = refusal(moved(to), json!({})).await;
        assert_eq!((error.code(), requests), (codes::HTTP_ANSWER, 1), "{to}");
    }
    let (error, _) = refusal(reply(301, &[], ""), json!({})).await;
    assert_eq!(error.code(), codes::HTTP_ANSWER);
}

#[tokio::test]
async fn another_host_gets_no_secret() {
    let other = Server::script(vec![ok("[1]")]);
    let target = other.url.clone();
    let first = Server::new(move |n, request| match request.target.as_str() {
        "/" => reply(307, &[("Location", "/here?q")], ""),
        _ => reply(307, &[("Location", &target)], format!("{n}")),
    });
    let config = json!({
        "url": first.url.replace("http://", "http://me:canary-1@"),
        "headers": {"X-App-Token": "canary-2", "Accept": "application/json", "Cookie": "canary-3"},
    });
    let dir = tempfile::tempdir().unwrap();
    load(&*source("rest", config), &cx(dir.path()), None).await;
    for request in first.requests() {
        assert_eq!(request.header("authorization"), Some("Basic bWU6Y2FuYXJ5LTE="));
        assert_eq!(request.header("x-app-token"), Some("canary-2"));
    }
    let request = &other.requests()[0];
    assert_eq!(request.header("accept"), Some("application/json"));
    let sent = format!("{request:?}");
    assert!(!sent.contains("canary") && request.header("authorization").is_none(), "{sent}");
}

#[tokio::test]
async fn a_refusal_by_another_host_says_why_it_got_no_credentials() {
    let other = Server::script(vec![reply(401, &[], "")]);
    let target = other.url.clone();
    let first = Server::new(move |_, _| reply(302, &[("Location", &target)], ""));
    let dir = tempfile::tempdir().unwrap();
    let config = json!({"url": first.url, "auth": {"bearer": "canary"}});
    let error = failure(&*source("rest", config), &cx(dir.path())).await;
    assert!(error.hint_text().unwrap().contains("another host"), "{error:?}");
}

#[tokio::test]
async fn requests_keep_their_distance() {
    let server = Server::new(|n, _| ok(if n < 4 { format!("[{n}]") } else { "[]".to_owned() }));
    let config = json!({
        "url": server.url,
        "rate": "20/s",
        "pages": {"type": "page", "size": 1},
    });
    let dir = tempfile::tempdir().unwrap();
    let start = Instant::now();
    load(&*source("rest", config), &cx(dir.path()), None).await;
    // Five spacings of 50 ms lie between six requests: the empty page is asked for twice.
    assert_eq!(server.requests().len(), 6);
    assert!(start.elapsed() >= Duration::from_millis(250));
}

#[tokio::test]
async fn a_stop_interrupts_waits_at_once() {
    for (answer, more) in [
        (reply(503, &[("Retry-After", "50")], ""), json!({"retry": {"wait": "50s"}})),
        (Reply::silence(), json!({})),
        (ok("[1]"), json!({"rate": "1/h", "pages": {"type": "page", "size": 1}})),
    ] {
        let server = Server::script(vec![answer]);
        let dir = tempfile::tempdir().unwrap();
        let (cx, source) = (cx(dir.path()), source("rest", config(&server.url, more)));
        let start = Instant::now();
        let stop = async {
            while server.requests().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            cx.cancel.cancel();
        };
        let (outcome, ()) = tokio::join!(read(&*source, &cx, None), stop);
        assert_eq!(outcome.unwrap_err().code(), codes::STOPPED);
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}

#[tokio::test]
async fn an_unchanged_answer_is_known_by_its_etag_date_or_hash() {
    for (headers, asked, says) in [
        (vec![("ETag", "\"v1\"")], ("if-none-match", "\"v1\""), "ETag"),
        (
            vec![("Last-Modified", "Sat, 21 Nov 2026 11:00:00 GMT")],
            ("if-modified-since", "Sat, 21 Nov 2026 11:00:00 GMT"),
            "Last-Modified",
        ),
        (vec![], ("host", ""), "sha256"),
    ] {
        for (kind, url, body) in [("rest", "", "[1]"), ("file", "/x.csv", "a\n1\n")] {
            let fresh = reply(200, &headers, body);
            let server = Server::new(move |_, request| match request.header(asked.0) {
                Some(value) if value == asked.1 => reply(304, &[], ""),
                _ => fresh.clone(),
            });
            let dir = tempfile::tempdir().unwrap();
            let (cx, source) = (cx(dir.path()), source(kind, json!({"url": format!("{}{url}", server.url)})));
            let (chunks, position) = load(&*source, &cx, None).await;
            assert_eq!(texts(&chunks), [body]);
            let why = nothing(&*source, &cx, &position).await;
            assert!(why.contains(says), "{kind}: {why}");
        }
    }
}

#[tokio::test]
async fn the_conditions_of_one_address_are_not_asked_of_another() {
    let server = Server::new(|_, request| match request.header("if-none-match") {
        Some(_) => reply(304, &[], ""),
        None => reply(200, &[("ETag", "\"same\"")], format!("[{}]", request.target.len())),
    });
    let dir = tempfile::tempdir().unwrap();
    let of =
        |year: &str| source("rest", json!({"url": format!("{}/x", server.url), "params": {"year": year}}));
    let (_, position) = load(&*of("2023"), &cx(dir.path()), None).await;
    let outcome = read(&*of("20240"), &cx(dir.path()), Some(&position)).await.unwrap().1;
    assert!(matches!(outcome, Outcome::Read { .. }), "{outcome:?}");
}

#[tokio::test]
async fn the_conditions_of_one_login_are_not_asked_of_another() {
    let server = Server::new(|_, request| match request.header("if-modified-since") {
        Some(_) => reply(304, &[], ""),
        None => {
            let body = format!("{:?}", (&request.target, &request.headers)).len();
            reply(200, &[("Last-Modified", "Fri, 20 Nov 2026 12:00:00 GMT")], format!("[{body}]"))
        }
    });
    let configs = [
        json!({"auth": {"bearer": "token of one"}}),
        json!({"auth": {"bearer": "token of another"}}),
        json!({"headers": {"X-Tenant": "1"}}),
        json!({"headers": {"X-Tenant": "12"}}),
        json!({"params": {"api_key": "one"}}),
        json!({"params": {"api_key": "another"}}),
    ];
    for (kind, name) in [("rest", "x"), ("file", "x.csv")] {
        let of = |config: &serde_json::Value| {
            let mut config = config.clone();
            config["url"] = json!(format!("{}/{name}", server.url));
            if kind == "file"
                && let Some(params) = config.as_object_mut().unwrap().remove("params")
            {
                config["url"] =
                    json!(format!("{}/{name}?api_key={}", server.url, params["api_key"].as_str().unwrap()));
            }
            source(kind, config)
        };
        for pair in configs.chunks(2) {
            let dir = tempfile::tempdir().unwrap();
            let (_, position) = load(&*of(&pair[0]), &cx(dir.path()), None).await;
            assert!(nothing(&*of(&pair[0]), &cx(dir.path()), &position).await.contains("304"));
            let outcome = read(&*of(&pair[1]), &cx(dir.path()), Some(&position)).await.unwrap().1;
            assert!(matches!(outcome, Outcome::Read { .. }), "{kind} {pair:?}: {outcome:?}");
        }
    }
}

#[tokio::test]
async fn a_secret_that_the_server_repeats_is_not_shown() {
    let server = Server::new(|_, request| {
        let echo = format!("you sent {} {:?}", request.target, request.headers);
        reply(403, &[], echo)
    });
    for auth in [
        json!({"bearer": "canary-token"}),
        json!({"basic": {"user": "me", "password": "canary-token"}}),
        json!({"api_key": {"header": "X-Key", "value": "canary token"}}),
        json!({"api_key": {"query": "appid", "value": "canary token+"}}),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let config = json!({"url": server.url, "auth": auth, "headers": {"X-Other": "canary-other"}});
        let error = failure(&*source("rest", config), &cx(dir.path())).await;
        let shown = format!("{error:?} {error} {}", error.to_json());
        assert!(shown.contains("you sent") && shown.contains("***"), "{shown}");
        assert!(!shown.contains("canary") && !shown.contains("Y2FuYXJ5"), "{shown}");
        assert!(!shown.contains("bWU6"), "{shown}");
    }
}
