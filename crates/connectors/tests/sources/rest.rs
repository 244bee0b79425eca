//! REST sources: answers, pages, logins, redaction.

use chrono::Duration;
use lagar_connectors::{Cx, Outcome};
use lagar_flow::{FixedClock, codes};
use serde_json::{Value, json};

use crate::support::{
    config_error, cx, failure, load, nothing, now, read,
    server::{Reply, Server, ok, reply},
    source, texts,
};

/// Reads all of `config`, with `url` set to the server's.
async fn load_from(server: &Server, mut config: Value) -> Vec<String> {
    config["url"] = json!(format!("{}/items", server.url));
    let dir = tempfile::tempdir().unwrap();
    texts(&load(&*source("rest", config), &cx(dir.path()), None).await.0)
}

#[tokio::test]
async fn an_answer_without_rows_is_a_file_without_rows_and_a_note() {
    for body in ["null", "[]", "", " \n", "{\"data\": []}"] {
        let server = Server::script(vec![ok(body)]);
        let dir = tempfile::tempdir().unwrap();
        let mut config = json!({"url": server.url});
        if body.starts_with('{') {
            config["rows"] = json!("$.data[*]");
        }
        let source = source("rest", config);
        let (chunks, position) = load(&*source, &cx(dir.path()), None).await;
        let [chunk] = chunks.as_slice() else { panic!("{body}: {chunks:?}") };
        assert_eq!((chunk.file.rows, chunk.rejects.len()), (Some(0), 0), "{body}");
        assert!(chunk.notes.iter().any(|note| note.0.contains("no rows")), "{body}: {:?}", chunk.notes);
        nothing(&*source, &cx(dir.path()), &position).await;
    }
}

#[tokio::test]
async fn a_web_page_is_not_data() {
    for answer in [
        ok("<!doctype html><p>log in</p>"),
        ok("\u{feff} \n<html>"),
        reply(200, &[("Content-Type", "text/html; charset=utf-8")], "please log in"),
    ] {
        let server = Server::script(vec![answer]);
        let dir = tempfile::tempdir().unwrap();
        let error = failure(&*source("rest", json!({"url": server.url})), &cx(dir.path())).await;
        assert_eq!(error.code(), codes::HTTP_ANSWER);
        assert!(error.hint_text().is_some());
    }
    let mislabelled = Server::script(vec![reply(200, &[("Content-Type", "text/html")], "[1]")]);
    assert_eq!(load_from(&mislabelled, json!({})).await, ["[1]"]);
}

#[tokio::test]
async fn what_is_no_json_cannot_be_decoded() {
    let server = Server::script(vec![ok("{\"a\": ")]);
    let dir = tempfile::tempdir().unwrap();
    let error = failure(&*source("rest", json!({"url": server.url})), &cx(dir.path())).await;
    assert_eq!(error.code(), codes::DECODE);
    assert!(error.message().contains(&server.url), "{error}");
}

#[tokio::test]
async fn params_and_headers_are_sent_and_empty_headers_are_not() {
    let server = Server::script(vec![ok("[1]")]);
    let config = json!({
        "params": {"$order": ":id", "n": 5, "on": true},
        "headers": {"X-Empty": "", "X-Full": "x", "User-Agent": "mine"},
    });
    load_from(&server, config).await;
    let request = &server.requests()[0];
    assert_eq!(
        (request.method.as_str(), request.target.as_str()),
        ("GET", "/items?%24order=%3Aid&n=5&on=true")
    );
    assert_eq!(request.header("x-full"), Some("x"));
    assert_eq!(request.header("user-agent"), Some("mine"));
    assert_eq!(request.header("x-empty"), None);
}

#[tokio::test]
async fn offset_and_page_read_until_a_page_without_rows() {
    let server = Server::script(vec![ok("[1,2]"), ok("[3,4]"), ok("[5]"), ok("[]")]);
    let pages = json!({"type": "offset", "size": 2, "size_param": "$limit", "offset_param": "$offset"});
    assert_eq!(load_from(&server, json!({"pages": pages})).await, ["[1,2]", "[3,4]", "[5]"]);
    assert_eq!(server.targets(), [0, 2, 4, 5].map(|offset| format!("/items?%24limit=2&%24offset={offset}")));
    let server = Server::script(vec![ok("[1,2]"), ok("[3,4]"), ok("[]")]);
    let pages = json!({"type": "page", "size": 2, "page_param": "p", "size_param": "per_page", "first": 0});
    assert_eq!(load_from(&server, json!({"pages": pages, "params": {"a": "b"}})).await, ["[1,2]", "[3,4]"]);
    assert_eq!(
        server.targets(),
        // The end right behind a full page is asked for twice.
        [0, 1, 2, 2].map(|page| format!("/items?a=b&per_page=2&p={page}"))
    );
}

/// The rows from `start`, at most 50 of 230, as a server gives them that never gives more at once.
fn capped(start: usize) -> Reply {
    let rows: Vec<usize> = (start..230.min(start + 50)).collect();
    ok(json!(rows).to_string())
}

fn parameter(target: &str, name: &str) -> usize {
    let url = url::Url::parse("http://a.example").unwrap().join(target).unwrap();
    url.query_pairs().find(|(n, _)| n == name).unwrap().1.parse().unwrap()
}

fn numbers(pages: &[String]) -> Vec<usize> {
    pages.iter().flat_map(|page| serde_json::from_str::<Vec<usize>>(page).unwrap()).collect()
}

#[tokio::test]
async fn a_server_that_gives_less_than_asked_for_is_read_to_its_end() {
    let by_offset = Server::new(|_, request| capped(parameter(&request.target, "offset")));
    let by_page = Server::new(|_, request| capped((parameter(&request.target, "page") - 1) * 50));
    for (server, kind) in [(by_offset, "offset"), (by_page, "page")] {
        let loaded = load_from(&server, json!({"pages": {"type": kind, "size": 100}})).await;
        assert_eq!(numbers(&loaded), (0..230).collect::<Vec<_>>(), "{kind}");
        assert_eq!(server.requests().len(), 6, "{kind}");
    }
}

#[tokio::test]
async fn after_a_first_page_that_is_not_full_one_more_is_asked_for() {
    for kind in ["offset", "page"] {
        let server = Server::script(vec![ok("[1,2,3]"), ok("[]")]);
        let loaded = load_from(&server, json!({"pages": {"type": kind, "size": 100}})).await;
        assert_eq!((loaded, server.requests().len()), (vec!["[1,2,3]".to_owned()], 3), "{kind}");
    }
    // Many servers that count pages refuse the one behind the last; 200 rows by 50 end there as well.
    for status in [404, 400] {
        let server = Server::script(vec![ok("[1,2,3]"), reply(status, &[], "{\"code\": \"no such page\"}")]);
        let loaded = load_from(&server, json!({"pages": {"type": "page", "size": 100}})).await;
        assert_eq!((loaded, server.requests().len()), (vec!["[1,2,3]".to_owned()], 2), "{status}");
    }
    let server = Server::script(vec![ok("[1,2]"), ok("[3,4]"), reply(404, &[], "")]);
    assert_eq!(load_from(&server, json!({"pages": {"type": "page", "size": 100}})).await.len(), 2);
}

#[tokio::test]
async fn elsewhere_a_refused_page_is_an_error() {
    for (pages, replies) in [
        (json!({"type": "page", "size": 2}), vec![reply(404, &[], "")]),
        (json!({"type": "page", "size": 2}), vec![ok("[1,2]"), reply(404, &[], "")]),
        (json!({"type": "page", "size": 2}), vec![ok("[1]"), reply(410, &[], "")]),
        (json!({"type": "offset", "size": 2}), vec![ok("[1]"), reply(404, &[], "")]),
    ] {
        let server = Server::script(replies);
        let dir = tempfile::tempdir().unwrap();
        let error =
            failure(&*source("rest", json!({"url": server.url, "pages": pages})), &cx(dir.path())).await;
        assert_eq!(error.code(), codes::HTTP_STATUS, "{pages}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_heed_the_page_is_an_error() {
    for kind in ["offset", "page"] {
        let server = Server::script(vec![ok("[1,2,3]")]);
        let dir = tempfile::tempdir().unwrap();
        let config = json!({"url": server.url, "pages": {"type": kind, "size": 100}});
        let error = failure(&*source("rest", config), &cx(dir.path())).await;
        assert_eq!((error.code(), server.requests().len()), (codes::HTTP_ANSWER, 2));
        assert!(error.message().contains("page 2 has the same rows"), "{error}");
    }
}

#[tokio::test]
async fn pages_need_to_know_where_the_rows_are() {
    for pages in [
        json!({"type": "offset", "size": 2}),
        json!({"type": "page", "size": 1}),
        json!({"type": "cursor", "next": "$.next", "param": "after"}),
        json!({"type": "next_url", "next": "$.next"}),
        json!({"type": "link"}),
    ] {
        let server = Server::script(vec![ok("{\"data\": [1, 2]}")]);
        let dir = tempfile::tempdir().unwrap();
        let mut config = json!({"url": server.url, "pages": pages});
        let error = failure(&*source("rest", config.clone()), &cx(dir.path())).await;
        assert_eq!((error.code(), server.requests().len()), (codes::HTTP_ANSWER, 1), "{pages}");
        assert!(error.hint_text().unwrap().contains("`rows`"), "{error}");
        config["rows"] = json!("$.data[*]");
        let server = Server::script(vec![ok("{\"data\": [1, 2]}"), ok("{\"data\": []}")]);
        assert_eq!(load_from(&server, config).await.len(), 1);
    }
}

/// What a server writes around these rows, and as the number of the next page.
type Page = fn(&str, usize) -> Reply;

/// Every way to get from page to page.
fn every_way() -> [(Value, Page); 5] {
    fn plain(data: &str, _: usize) -> Reply {
        ok(format!("{{\"data\": {data}}}"))
    }
    fn marked(data: &str, next: usize) -> Reply {
        ok(format!("{{\"data\": {data}, \"next\": \"?page={next}\"}}"))
    }
    fn linked(data: &str, next: usize) -> Reply {
        let link = format!("<?page={next}>; rel=next");
        reply(200, &[("Link", &link)], format!("{{\"data\": {data}}}"))
    }
    [
        (json!({"type": "offset", "size": 2}), plain),
        (json!({"type": "page", "size": 2}), plain),
        (json!({"type": "cursor", "next": "$.next", "param": "after"}), marked),
        (json!({"type": "next_url", "next": "$.next"}), marked),
        (json!({"type": "link"}), linked),
    ]
}

#[tokio::test]
async fn an_error_with_status_200_is_not_the_end_of_the_pages() {
    let answers = [
        "{\"error\": \"canary-token is over its quota\"}",
        "{\"data\": null, \"errors\": [\"boom\"]}",
        "{}",
        "null",
        "",
    ];
    for (pages, page) in every_way() {
        for answer in answers {
            let server = Server::script(vec![page("[1, 2]", 2), page("[3, 4]", 3), ok(answer)]);
            let dir = tempfile::tempdir().unwrap();
            let mut config = json!({"url": server.url, "rows": "$.data[*]", "pages": pages,
                                    "auth": {"bearer": "canary-token"}});
            let error = failure(&*source("rest", config.clone()), &cx(dir.path())).await;
            assert_eq!(error.code(), codes::HTTP_ANSWER, "{pages} {answer}: {error}");
            assert!(error.message().contains("neither rows nor an empty list"), "{error}");
            assert!(error.hint_text().unwrap().contains("empty: any"), "{error:?}");
            assert!(!format!("{error:?}").contains("canary"), "{error:?}");
            assert_eq!(server.requests().len(), 3, "{pages} {answer}");
            if answer.contains("error") {
                continue;
            }
            config["pages"]["empty"] = json!("any");
            let server = Server::script(vec![page("[1, 2]", 2), page("[3, 4]", 3), ok(answer)]);
            assert_eq!(load_from(&server, config).await.len(), 2, "{pages} {answer}");
        }
        // Nothing is to be had, says the status.
        let server = Server::script(vec![page("[1, 2]", 2), page("[3, 4]", 3), reply(204, &[], "")]);
        assert_eq!(
            load_from(&server, json!({"rows": "$.data[*]", "pages": pages})).await.len(),
            2,
            "{pages}"
        );
    }
}

#[tokio::test]
async fn a_page_without_rows_that_comes_as_a_surprise_is_asked_for_again() {
    for (pages, page) in every_way() {
        let replies = vec![page("[1, 2]", 2), ok("{\"data\": []}"), page("[3, 4]", 3), ok("{\"data\": []}")];
        let server = Server::script(replies);
        let loaded = load_from(&server, json!({"rows": "$.data[*]", "pages": pages})).await;
        assert_eq!(loaded.len(), 2, "{pages}: {loaded:?}");
        let targets = server.targets();
        assert_eq!((targets.len(), &targets[1], &targets[3]), (5, &targets[2], &targets[4]), "{pages}");
    }
}

#[tokio::test]
async fn a_short_page_is_not_the_last_one() {
    // Rows that the asker may not see are left out after the page was cut.
    for kind in ["offset", "page"] {
        let server = Server::script(vec![ok("[1,2,3]"), ok("[4,5]"), ok("[6,7,8]"), ok("[9]"), ok("[]")]);
        let loaded = load_from(&server, json!({"pages": {"type": kind, "size": 3}})).await;
        assert_eq!(numbers(&loaded), (1..=9).collect::<Vec<_>>(), "{kind}");
    }
}

#[tokio::test]
async fn the_last_page_for_every_number_behind_it_is_read_once() {
    for kind in ["offset", "page"] {
        let server = Server::script(vec![ok("[1,2]"), ok("[3]")]);
        let loaded = load_from(&server, json!({"pages": {"type": kind, "size": 2}})).await;
        assert_eq!((loaded.len(), server.requests().len()), (2, 3), "{kind}");
    }
}

#[tokio::test]
async fn a_server_that_goes_in_a_circle_is_named() {
    for (pages, page) in every_way() {
        // New marks for ever, a new time in each answer, and the same rows.
        let server = Server::new(move |n, _| page(["[1, 2]", "[3, 4]", "[5, 6]"][n % 3], n));
        let dir = tempfile::tempdir().unwrap();
        let config = json!({"url": server.url, "rows": "$.data[*]", "pages": pages});
        let error = failure(&*source("rest", config), &cx(dir.path())).await;
        assert_eq!((error.code(), server.requests().len()), (codes::HTTP_ANSWER, 4), "{pages}: {error}");
        assert!(error.message().contains("page 4 has the same rows"), "{error}");
    }
}

#[tokio::test]
async fn pages_that_are_alike_without_what_is_redacted_are_not_the_same() {
    let server =
        Server::new(|n, _| ok(if n < 3 { format!("[{{\"id\": {n}, \"a\": 1}}]") } else { "[]".into() }));
    let config = json!({"redact": ["id"], "pages": {"type": "page", "size": 1}});
    assert_eq!(load_from(&server, config).await, ["[{ \"a\": 1}]"; 3]);
}

#[tokio::test]
async fn rows_that_come_twice_are_kept() {
    // A row was inserted before the second page was asked for.
    let server = Server::script(vec![ok("[1,2]"), ok("[2,3]"), ok("[]")]);
    assert_eq!(load_from(&server, json!({"pages": {"type": "page", "size": 2}})).await, ["[1,2]", "[2,3]"]);
}

#[tokio::test]
async fn pages_without_rows_for_ever_are_an_error() {
    let server = Server::new(|n, _| ok(json!({"data": [], "next": n}).to_string()));
    let config = json!({"url": server.url, "rows": "$.data[*]",
                        "pages": {"type": "cursor", "next": "$.next", "param": "after"}});
    let dir = tempfile::tempdir().unwrap();
    let error = failure(&*source("rest", config), &cx(dir.path())).await;
    assert_eq!((error.code(), server.requests().len()), (codes::HTTP_ANSWER, 20), "{error}");
}

#[tokio::test]
async fn a_cursor_is_followed() {
    let page = |rows: &str, next: &str| ok(format!("{{\"data\": {rows}, \"meta\": {{\"next\": {next}}}}}"));
    let server = Server::script(vec![page("[1]", "\"a/b\""), page("[]", "\"c\""), page("[2]", "null")]);
    let config =
        json!({"rows": "$.data[*]", "pages": {"type": "cursor", "next": "$.meta.next", "param": "cursor"}});
    let loaded = load_from(&server, config.clone()).await;
    assert_eq!(loaded.len(), 2, "the page without rows is not a file: {loaded:?}");
    assert_eq!(server.targets(), ["/items", "/items?cursor=a%2Fb", "/items?cursor=c"]);

    let circle = Server::script(vec![page("[1]", "\"a\"")]);
    let mut config = config;
    config["url"] = json!(circle.url);
    let dir = tempfile::tempdir().unwrap();
    let error = failure(&*source("rest", config), &cx(dir.path())).await;
    assert_eq!((error.code(), circle.requests().len()), (codes::HTTP_ANSWER, 2));
    assert!(error.message().contains("already read"), "{error}");
}

#[tokio::test]
async fn links_in_the_answer_or_its_header_are_followed_without_secrets_elsewhere() {
    let other = Server::script(vec![ok("{\"rows\": [3]}")]);
    for pages in [json!({"type": "next_url", "next": "$.next"}), json!({"type": "link"})] {
        let away = format!("{}/page3", other.url);
        let server = Server::new(move |n, _| {
            let next = if n == 0 { "/page2?x=1" } else { &away };
            let body = format!("{{\"rows\": [{n}], \"next\": \"{next}\"}}");
            reply(200, &[("Link", "</first>; rel=first"), ("Link", &format!("<{next}>; rel=\"next\""))], body)
        });
        let config = json!({
            "rows": "$.rows[*]", "pages": pages, "params": {"limit": 1},
            "headers": {"X-App-Token": "canary"},
            "auth": {"api_key": {"query": "key", "value": "canary"}},
        });
        assert_eq!(load_from(&server, config).await.len(), 3);
        assert_eq!(server.targets(), ["/items?limit=1&key=canary", "/page2?x=1&key=canary"]);
        let last = other.requests().pop().unwrap();
        assert_eq!(last.target, "/page3");
        assert!(!format!("{last:?}").contains("canary"));
    }
}

#[tokio::test]
async fn too_many_pages_are_an_error_and_nothing_is_handed_over() {
    let server = Server::new(|n, _| ok(format!("[{n}]")));
    let config = json!({"url": server.url, "pages": {"type": "page", "size": 1, "max_pages": 3}});
    let dir = tempfile::tempdir().unwrap();
    let error = failure(&*source("rest", config), &cx(dir.path())).await;
    assert_eq!((error.code(), server.requests().len()), (codes::TOO_LARGE, 3));
    assert!(error.hint_text().unwrap().contains("max_pages"));
}

#[tokio::test]
async fn pages_are_a_new_load_only_when_one_of_them_changed() {
    let changed = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = changed.clone();
    let server = Server::new(move |_, request| {
        let last = if seen.load(std::sync::atomic::Ordering::SeqCst) { "[4]" } else { "[3]" };
        ok(if request.target.contains("page=1") { "[1,2]" } else { last })
    });
    let dir = tempfile::tempdir().unwrap();
    let source = source("rest", json!({"url": server.url, "pages": {"type": "page", "size": 2}}));
    let (_, position) = load(&*source, &cx(dir.path()), None).await;
    assert!(nothing(&*source, &cx(dir.path()), &position).await.contains("sha256"));
    changed.store(true, std::sync::atomic::Ordering::SeqCst);
    let (chunks, _) = load(&*source, &cx(dir.path()), Some(&position)).await;
    assert_eq!(texts(&chunks), ["[1,2]", "[4]"]);
}

#[tokio::test]
async fn many_large_pages_do_not_stay_in_memory() {
    let page = "x".repeat(3 << 20);
    let server =
        Server::new(move |n, _| ok(if n < 5 { format!("[\"{n}{page}\"]") } else { "[]".to_owned() }));
    let dir = tempfile::tempdir().unwrap();
    let source = source("rest", json!({"url": server.url, "pages": {"type": "page", "size": 1}}));
    let (chunks, _) = load(&*source, &cx(dir.path()), None).await;
    let in_memory = chunks.iter().filter(|chunk| chunk.file.body.path().is_none()).count();
    assert_eq!((chunks.len(), in_memory), (5, 2));
}

#[tokio::test]
async fn every_way_to_log_in() {
    for (auth, header, value) in [
        (json!({"bearer": "abcd"}), "authorization", "Bearer abcd"),
        (json!({"basic": {"user": "me", "password": "pässword"}}), "authorization", "Basic bWU6cMOkc3N3b3Jk"),
        (json!({"api_key": {"header": "X-Key", "value": 12345}}), "x-key", "12345"),
    ] {
        let server = Server::script(vec![ok("[1]")]);
        load_from(&server, json!({"auth": auth})).await;
        assert_eq!(server.requests()[0].header(header), Some(value));
    }
    let server = Server::script(vec![ok("[1]")]);
    load_from(&server, json!({"auth": {"api_key": {"query": "k", "value": "a b"}}, "params": {"x": 1}}))
        .await;
    assert_eq!(server.targets(), ["/items?x=1&k=a+b"]);
}

/// A server with a token endpoint at `/token` that gives out token-1, token-2, …
fn oauth_server(refuse: fn(&str) -> bool) -> Server {
    let given = std::sync::atomic::AtomicU32::new(0);
    Server::new(move |_, request| {
        if request.target == "/token" {
            let n = given.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
            return ok(json!({"access_token": format!("token-{n}"), "expires_in": 100}).to_string());
        }
        let sent = request.header("authorization").unwrap_or_default();
        if refuse(sent) { reply(401, &[], format!("{sent} is no good")) } else { ok("[1]") }
    })
}

fn oauth_config(server: &Server) -> Value {
    json!({"url": format!("{}/items", server.url), "auth": {"oauth2": {
        "token_url": format!("{}/token", server.url), "client_id": "me", "client_secret": "canary", "scope": "read",
    }}})
}

#[tokio::test]
async fn an_oauth_token_is_fetched_and_kept_until_shortly_before_its_end() {
    let server = oauth_server(|_| false);
    let dir = tempfile::tempdir().unwrap();
    let clock = std::sync::Arc::new(FixedClock::new(now()));
    let cx = Cx { clock: clock.clone(), ..cx(dir.path()) };
    let source = source("rest", oauth_config(&server));
    load(&*source, &cx, None).await;
    let token = &server.requests()[0];
    assert_eq!(
        (token.method.as_str(), token.body.as_str()),
        ("POST", "grant_type=client_credentials&scope=read")
    );
    assert_eq!(token.header("authorization"), Some("Basic bWU6Y2FuYXJ5"));
    assert_eq!(server.requests()[1].header("authorization"), Some("Bearer token-1"));
    clock.advance(Duration::seconds(69));
    load(&*source, &cx, None).await;
    assert_eq!(server.targets(), ["/token", "/items", "/items"]);
    clock.advance(Duration::seconds(1));
    load(&*source, &cx, None).await;
    assert_eq!(server.targets().len(), 5);
    assert_eq!(server.requests()[4].header("authorization"), Some("Bearer token-2"));
}

#[tokio::test]
async fn a_refused_token_is_renewed_once() {
    let server = oauth_server(|sent| sent == "Bearer token-1");
    let dir = tempfile::tempdir().unwrap();
    load(&*source("rest", oauth_config(&server)), &cx(dir.path()), None).await;
    assert_eq!(server.targets(), ["/token", "/items", "/token", "/items"]);

    let server = oauth_server(|_| true);
    let error = failure(&*source("rest", oauth_config(&server)), &cx(dir.path())).await;
    assert_eq!((error.code(), server.targets().len()), (codes::AUTH, 4));
    assert!(!error.to_string().contains("token-"), "{error}");
}

#[tokio::test]
async fn a_token_endpoint_may_want_the_client_in_the_form() {
    let server = Server::new(|_, request| match request.target.as_str() {
        "/token" if request.body.contains("client_secret=canary") => ok("{\"access_token\": \"tttt\"}"),
        "/token" => reply(400, &[], "{\"error\": \"invalid_client\"}"),
        _ => ok("[1]"),
    });
    let dir = tempfile::tempdir().unwrap();
    load(&*source("rest", oauth_config(&server)), &cx(dir.path()), None).await;
    let requests = server.requests();
    assert_eq!(
        requests[1].body,
        "grant_type=client_credentials&scope=read&client_id=me&client_secret=canary"
    );
    assert_eq!(requests[1].header("authorization"), None);
}

#[tokio::test]
async fn a_token_endpoint_that_fails_is_named_without_secrets() {
    for (answer, code) in [
        (reply(401, &[], "wrong secret canary"), codes::AUTH),
        (ok("{\"token\": \"canary\"}"), codes::HTTP_ANSWER),
        (reply(302, &[("Location", "/elsewhere")], ""), codes::HTTP_ANSWER),
        (Reply::hang_up(), codes::HTTP_TEMPORARY),
    ] {
        let server = Server::new(move |_, _| answer.clone());
        let mut config = oauth_config(&server);
        config["retry"] = json!({"attempts": 2, "wait": "1ms"});
        let dir = tempfile::tempdir().unwrap();
        let error = failure(&*source("rest", config), &cx(dir.path())).await;
        assert_eq!(error.code(), code, "{error}");
        assert!(error.message().contains("/token"), "{error}");
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
}

#[tokio::test]
async fn redacted_keys_are_in_no_file_reject_or_error() {
    let body = r#"[ {"id": 1.10, "password": "canary"}, {"password": "canary", "id": "is not a number", "x": {"password": ["canary"]}} ]"#;
    let kept = r#"[ {"id": 1.10}, { "id": "is not a number", "x": {}} ]"#;
    let server = Server::script(vec![ok(body)]);
    let dir = tempfile::tempdir().unwrap();
    let source = source("rest", json!({"url": server.url, "redact": ["password"]}));
    let mut cx = cx(dir.path());
    cx.columns.insert("id".into(), "double".to_owned().try_into().unwrap());
    let (chunks, position) = load(&*source, &cx, None).await;
    assert_eq!(texts(&chunks), [kept]);
    assert_eq!(chunks[0].file.origin.redacted, ["password"]);
    assert_eq!(chunks[0].rejects.len(), 1);
    assert!(!format!("{chunks:?}").contains("canary"));
    nothing(&*source, &cx, &position).await;

    for (status, body) in [(400, body), (400, "no json: canary"), (200, "{\"password\": \"canary\"")] {
        let server = Server::script(vec![reply(status, &[], body)]);
        let source = self::source("rest", json!({"url": server.url, "redact": ["password"]}));
        let error = failure(&*source, &cx).await;
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
}

#[tokio::test]
async fn the_same_bytes_read_differently_are_a_new_load() {
    let server = Server::script(vec![reply(
        200,
        &[("ETag", "\"1\"")],
        r#"{"a": [{"x": 1}], "b": [{"x": 2}, {"x": 3}]}"#,
    )]);
    let dir = tempfile::tempdir().unwrap();
    let of = |rows: &str| source("rest", json!({"url": server.url, "rows": rows}));
    let (_, position) = load(&*of("$.a[*]"), &cx(dir.path()), None).await;
    let (chunks, outcome) = read(&*of("$.b[*]"), &cx(dir.path()), Some(&position)).await.unwrap();
    assert_eq!(chunks[0].file.rows, Some(2));
    assert!(matches!(outcome, Outcome::Read { notes, .. } if notes.len() == 1));
}

#[tokio::test]
async fn saved_answers_stand_in_for_a_server() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("project")).unwrap();
    std::fs::create_dir_all(dir.path().join("api")).unwrap();
    std::fs::write(dir.path().join("api/products.json"), "[{}, {}]").unwrap();
    let cx = cx(&dir.path().join("project"));
    let config = json!({
        "url": "file:../api/products", "params": {"limit": 1}, "pages": {"type": "page", "size": 1},
        "auth": {"bearer": "x"}, "rate": "1/h",
    });
    let source = source("rest", config);
    assert_eq!(source.address(), "file:../api/products");
    let (chunks, position) = load(&*source, &cx, None).await;
    assert_eq!((texts(&chunks), chunks[0].file.rows), (vec!["[{}, {}]".to_owned()], Some(2)));
    assert_eq!(chunks[0].file.origin.url, "../api/products.json");
    assert!(nothing(&*source, &cx, &position).await.contains("sha256"));
    std::fs::write(dir.path().join("api/products.json"), "[{}, {}, {}]").unwrap();
    assert_eq!(load(&*source, &cx, Some(&position)).await.0[0].file.rows, Some(3));

    let error = failure(&*self::source("rest", json!({"url": "file:../api/prodcts"})), &cx).await;
    assert_eq!(error.code(), codes::SOURCE_MISSING);
    assert_eq!(error.hint_text(), Some("did you mean `../api/products.json`?"));
}

#[test]
fn wrong_keys_are_named() {
    let url = "https://a.example/x";
    for (config, path, says) in [
        (json!({"url": "ftp://me:canary@a.example"}), "url", "***@"),
        (json!({"url": "products"}), "url", "http://"),
        (json!({"url": url, "rows": "data"}), "rows", "JSONPath"),
        (
            json!({"url": url, "rows": "$.a[?@.b]", "pages": {"type": "page", "size": 5}}),
            "rows",
            "filter them in a model",
        ),
        (json!({"url": url, "pages": {"type": "link", "empty": "none"}}), "pages", "`any`"),
        (json!({"url": url, "window": {}}), "window", "missing field `size`"),
        (
            json!({"url": url, "window": {"size": "1d", "from": "2024-01-01", "params": "canary"}}),
            "window.params",
            "keys with values",
        ),
        (
            json!({"url": url, "params": {"day": "canary"},
                   "window": {"size": "1d", "from": "2024-01-01", "params": {"day": "{from} {to}"}}}),
            "window.params",
            "`day` is also set outside of `window`",
        ),
        (json!({"url": url, "for_each": {}}), "for_each", "not supported yet"),
        (json!({"url": url, "method": "POST"}), "method", "GET"),
        (json!({"url": url, "pages": {"type": "ofset"}}), "pages.type", "`offset`"),
        (
            json!({"url": url, "pages": {"type": "cursor", "next": "next", "param": "p"}}),
            "pages.next",
            "JSONPath",
        ),
        (json!({"url": url, "auth": {"token": "canary"}}), "auth.token", "`oauth2`"),
        (json!({"url": url, "auth": "canary"}), "auth", "keys with values"),
        (json!({"url": url, "headers": "canary"}), "headers", "keys with values"),
        (json!({"url": url, "retry": {"attempts": 0}}), "retry.attempts", "1 to 1000"),
        (json!({"url": url, "retry": {"wait": "1 week"}}), "retry.wait", "250ms"),
        (json!({"url": url, "rate": "fast"}), "rate", "5/s"),
        (json!({"url": url, "max_bytes": "much"}), "max_bytes", "64MiB"),
        (json!({"url": url, "timeout": {"conect": "1s"}}), "timeout.conect", "`connect`"),
    ] {
        let error = config_error("rest", config);
        assert_eq!(error.path.join("."), path, "{error:?}");
        assert!(error.message.contains(says) && !error.message.contains("canary"), "{error:?}");
    }
}

/// Whoever reads windows side by side must not knock more often for it.
#[tokio::test]
async fn the_rate_is_that_of_the_source_and_not_of_one_read() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::script(vec![ok("[]")]);
    let source = source("rest", json!({"url": format!("{}/x", server.url), "rate": "5/s"}));
    let started = std::time::Instant::now();
    for _ in 0..3 {
        read(&*source, &cx(dir.path()), None).await.unwrap();
    }
    let third = server.requests()[2].at - started;
    assert!(third >= std::time::Duration::from_millis(400), "{third:?}");
}
