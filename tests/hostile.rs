//! S1: servers as bad as they come. For each behaviour: how the run ends, that it ends in time and in
//! bounded memory, and that what was there before is still there.

use std::{
    io::{self, Write},
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use flate2::{Compression, write::GzEncoder};
use lagar_testing::{
    Battery,
    http::{Authority, Certificate, Http2, Reply, Server, Then, head, ok, reply, reply_and_stay},
    long,
};

use crate::support::{Done, Place, running::weighed, step};

const MODEL: &str = "-- Items.\nSELECT id, price FROM raw.items WHERE _newest\n";
const ROWS: &str = r#"[{"id":7,"price":0.5}]"#;
const JSON: (&str, &str) = ("Content-Type", "application/json");
const GZIP: (&str, &str) = ("Content-Encoding", "gzip");
const CHUNKED: (&str, &str) = ("Transfer-Encoding", "chunked");

/// `limit + 64 MB` over what the same run needs for a good answer.
const MEMORY_BEYOND_LIMIT: u64 = 64 << 20;
const LATE: Duration = Duration::from_secs(2);

/// How a run must end.
enum Ends {
    /// Exit 0 with these rows.
    Well(&'static str),
    /// Exit 0, one row in quarantine, this reason.
    Quarantine(&'static str),
    /// Exit 1 and these words: the data or the answer is wrong, and nothing is tried again.
    Data(&'static str),
    /// Exit 75 and these words, after all attempts.
    Temporary(&'static str),
}
use Ends::{Data, Quarantine, Temporary, Well};

struct Case {
    name: &'static str,
    url: String,
    server: Option<Server>,
    ends: Ends,
    kind: &'static str,
    keys: String,
    env: Vec<(&'static str, String)>,
    /// Seconds for one attempt.
    total: u64,
    attempts: u64,
    max_wait: u64,
    /// MiB of an answer.
    limit: u64,
    /// Requests that the server must have seen.
    asked: Option<usize>,
    /// Seconds between the first request and the second.
    waits: Option<(f64, f64)>,
}

impl Case {
    fn of(name: &'static str, server: Server, ends: Ends) -> Self {
        let url = format!("{}/items", server.url);
        Self { server: Some(server), ..Self::at(name, url, ends) }
    }

    fn at(name: &'static str, url: String, ends: Ends) -> Self {
        Self {
            name,
            url,
            server: None,
            ends,
            kind: "rest",
            keys: String::new(),
            env: Vec::new(),
            total: 2,
            attempts: 2,
            max_wait: 1,
            limit: 4,
            asked: None,
            waits: None,
        }
    }

    fn keys(mut self, keys: &str) -> Self {
        self.keys.push_str(&format!("    {keys}\n"));
        self
    }

    fn env(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.env.push((name, value.into()));
        self
    }

    fn asked(mut self, requests: usize) -> Self {
        self.asked = Some(requests);
        self
    }

    fn project(&self) -> String {
        let Self { url, kind, keys, total, attempts, max_wait, limit, .. } = self;
        format!(
            "name: hostile\nsources:\n  items:\n    type: {kind}\n    url: \"{url}\"\n    \
             timeout: {{connect: 1s, read: 1s, total: {total}s}}\n    \
             retry: {{attempts: {attempts}, wait: 10ms, max_wait: {max_wait}s}}\n    max_bytes: {limit}MiB\n{keys}"
        )
    }

    fn deadline(&self) -> Duration {
        Duration::from_secs(self.attempts * self.total + (self.attempts - 1) * self.max_wait)
    }
}

/// What a server says in all its answers.
fn says(name: &'static str, answer: Reply, ends: Ends) -> Case {
    Case::of(name, Server::script(vec![answer]), ends)
}

/// What a server says once, before it is good.
fn once(name: &'static str, answer: Reply) -> Case {
    Case::of(name, Server::script(vec![answer, ok(ROWS)]), Well(ROWS)).asked(2)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// `mib` MiB of spaces in a thousandth of it: gzip may be many members one behind the other.
fn bomb(mib: usize) -> Vec<u8> {
    gzip(&vec![b' '; 16 << 20]).repeat(mib / 16)
}

fn endless(start: String, piece: impl Into<Vec<u8>>, pause: u64) -> Reply {
    Reply::endless(start, piece, Duration::from_millis(pause))
}

/// A chunk of a body.
fn chunk(bytes: &str) -> String {
    format!("{:x}\r\n{bytes}\r\n", bytes.len())
}

fn moved(to: &str) -> Reply {
    reply(302, &[("Location", to)], "")
}

fn slow_or_endless() -> Vec<Case> {
    vec![
        says("never answers", Reply::silence(), Temporary("sent nothing for 1s")).asked(2),
        says(
            "stops in the headers",
            Reply::then_silence("HTTP/1.1 200 OK\r\nX-A: "),
            Temporary("sent nothing for 1s"),
        ),
        says(
            "stops in the body",
            Reply::then_silence(head(200, &[("Content-Length", "99")]) + "[{"),
            Temporary("sent nothing for 1s"),
        ),
        says(
            "drips its headers",
            endless("HTTP/1.1 200 OK\r\nX-A: ".into(), "a", 300),
            Temporary("sent nothing for 1s"),
        ),
        says("drips its body", endless(head(200, &[]) + "[", " ", 300), Temporary("within 2s")),
        says("a body without end", endless(head(200, &[JSON]) + "[", " ".repeat(1 << 16), 0), Data("4 MiB"))
            .asked(1),
        says(
            "chunks without end",
            endless(head(200, &[CHUNKED]), chunk(&" ".repeat(1 << 16)), 0),
            Data("4 MiB"),
        ),
        says(
            "100 Continue without end",
            endless(String::new(), "HTTP/1.1 100 Continue\r\n\r\n", 1),
            Temporary("sent nothing for 1s"),
        ),
        says(
            "headers without end",
            endless("HTTP/1.1 200 OK\r\n".into(), "X-Flood: aaaaaaaaaaaaaaaa\r\n".repeat(100), 0),
            Temporary("items"),
        ),
        says(
            "100000 headers",
            Reply::bytes(format!("HTTP/1.1 200 OK\r\n{}\r\n{ROWS}", "X-Flood: a\r\n".repeat(100_000))),
            Temporary("items"),
        ),
        says("a refusal without end", endless(head(404, &[]), "no ".repeat(1000), 0), Data("404")).asked(1),
    ]
}

fn lengths_and_packing() -> Vec<Case> {
    let length = |n: usize, body: &str| Reply::bytes(head(200, &[("Content-Length", &n.to_string())]) + body);
    let packed = |bytes: Vec<u8>| reply(200, &[JSON, GZIP], bytes);
    let mut file = says("a packed file that is a bomb", reply(200, &[], bomb(1024)), Data("limit"));
    (file.kind, file.url) = ("file", file.url + ".csv.gz");
    vec![
        says("a length that is too short", length(10, ROWS), Data("truncated")),
        says("a length that is too long", length(1000, ROWS), Temporary("broke off")).asked(2),
        says("a length beyond the limit", length(1 << 40, "["), Data("4 MiB")).asked(1),
        says(
            "a length that is no number",
            Reply::bytes(head(200, &[("Content-Length", "-1")]) + ROWS),
            Temporary("items"),
        ),
        says(
            "two lengths",
            Reply::bytes(head(200, &[("Content-Length", "3"), ("Content-Length", "22")]) + ROWS),
            Temporary("items"),
        ),
        says(
            "a chunk that is cut",
            Reply::bytes(head(200, &[CHUNKED]) + "ff\r\n[{\"id\":1"),
            Temporary("broke off"),
        ),
        says("no last chunk", Reply::bytes(head(200, &[CHUNKED]) + &chunk(ROWS)), Temporary("broke off")),
        says(
            "a chunk size that is none",
            Reply::bytes(head(200, &[CHUNKED]) + "zz\r\n[]"),
            Temporary("broke off"),
        ),
        says(
            "a chunk size beyond 64 bits",
            Reply::bytes(head(200, &[CHUNKED]) + "fffffffffffffffff\r\n"),
            Temporary("broke off"),
        ),
        says("a gzip bomb of 10 GB", packed(bomb(10 << 10)), Data("4 MiB")).asked(1),
        says("gzip in gzip", packed(gzip(&gzip(ROWS.as_bytes()))), Data("not a JSON array")),
        says(
            "gzip in gzip, as it says",
            reply(200, &[("Content-Encoding", "gzip, gzip")], gzip(&gzip(b"[]"))),
            Data("encoding `gzip, gzip`"),
        ),
        says("gzip that is cut", packed(gzip(ROWS.as_bytes())[..30].to_vec()), Temporary("incomplete gzip")),
        says("gzip that is none", packed(ROWS.into()), Data("is gzip and is not")),
        says("gzip that was not asked for", packed(gzip(ROWS.as_bytes())), Well(ROWS)),
        says("brotli", reply(200, &[("Content-Encoding", "br")], "xx"), Data("encoding `br`")),
        file,
        says("hangs up without a byte", Reply::hang_up(), Temporary("items")),
        says("speaks another protocol", Reply::bytes("SSH-2.0-OpenSSH_9.2\r\n"), Temporary("items")),
        says("rows without a status line", Reply::bytes(ROWS), Temporary("items")),
    ]
}

fn statuses() -> Vec<Case> {
    let html = reply(200, &[("Content-Type", "text/html")], "<!doctype html><title>Log in</title>");
    let busy = |status, headers: &[(&str, &str)]| reply(status, headers, "busy");
    let waiting =
        |name, header: Reply, max_wait, waits| Case { max_wait, waits: Some(waits), ..once(name, header) };
    // A date has no fractions: two seconds from now are more than one.
    let date = Reply::writing(|wire| {
        let mut date = Command::new("date");
        date.args(["-u", "-d", "+2 seconds", "+%a, %d %b %Y %H:%M:%S GMT"]).env("LC_ALL", "C");
        let date = String::from_utf8(date.output()?.stdout).map_err(io::Error::other)?;
        let lines =
            head(429, &[("Content-Length", "0"), ("Connection", "close"), ("Retry-After", date.trim())]);
        wire.write_all(lines.as_bytes()).map(|()| Then::Close)
    });
    let mut cases = vec![
        says("a web page", html, Data("web page")).asked(1),
        says("204", reply(204, &[], ""), Well("[]")),
        says("204 where rows are required", reply(204, &[], ""), Data("without a single row"))
            .keys("require_rows: true"),
        says("a part (206)", reply(206, &[JSON], ROWS), Data("206")),
        says("304 without being asked", reply(304, &[], ""), Data("304")),
        says("429 for ever", busy(429, &[]), Temporary("429")).asked(2),
        says("500 for ever", busy(500, &[]), Temporary("gave up after 2 attempts")).asked(2),
        says("503 for ever", busy(503, &[("Retry-After", "0")]), Temporary("503")).asked(2),
        once("500, then good", busy(500, &[])),
        once("408, then good", busy(408, &[])),
        waiting("429 with seconds", busy(429, &[("Retry-After", "1")]), 5, (1.0, 2.0)),
        waiting("429 with a date", date, 5, (1.0, 3.0)),
        waiting("429 until next year", busy(429, &[("Retry-After", "31536000")]), 1, (1.0, 2.0)),
        waiting("503 with nonsense", busy(503, &[("Retry-After", "soon; -1")]), 1, (0.0, 1.0)),
        Case {
            attempts: 5,
            ..Case::of(
                "500 four times",
                Server::script([vec![busy(500, &[]); 4], vec![ok(ROWS)]].concat()),
                Well(ROWS),
            )
        },
    ];
    for (name, status) in [("401", 401), ("403", 403), ("404", 404), ("410", 410), ("501", 501)] {
        cases.push(says(name, reply(status, &[], "no"), Data(name)).asked(1));
    }
    cases
}

fn redirects() -> Vec<Case> {
    // Names are looked up by the proxy, so an address out in the open can be told without being asked.
    let proxied = |name, location: &'static str, ends| {
        let server = Server::new(move |_, request| match request.target.as_str() {
            "http://feed.example.org/items" => moved(location),
            _ => ok(ROWS),
        });
        let proxy = server.url.clone();
        let mut case = Case::of(name, server, ends).env("http_proxy", proxy);
        case.url = "http://feed.example.org/items".to_owned();
        case
    };
    let next_page = reply(200, &[], r#"{"data": [{"id":1,"price":2.0}], "next": "http://10.0.0.1/items"}"#);
    let mut paged =
        proxied("the next page is inside a network", "/", Data("10.0.0.1/items, which is inside a network"));
    paged.server = Some(Server::script(vec![next_page]));
    paged.env[0].1 = paged.server.as_ref().unwrap().url.clone();
    let far = Server::new(|n, _| if n < 9 { moved(&format!("/hop{n}")) } else { ok(ROWS) });
    let many = Server::new(|n, _| moved(&format!("/hop{n}")));
    vec![
        says("redirects in a circle", moved("/items"), Data("redirects more than 10 times")),
        Case::of("redirects 21 times", many, Data("redirects more than 10 times")).asked(11),
        Case::of("redirects 9 times", far, Well(ROWS)).asked(10),
        says("redirects to a file", moved("file:///etc/passwd"), Data("and not http")).asked(1),
        says("redirects to gopher", moved("gopher://127.0.0.1/x"), Data("and not http")).asked(1),
        says("redirects nowhere", reply(302, &[], ""), Data("without saying where")).asked(1),
        proxied(
            "redirects to the cloud's metadata",
            "http://169.254.169.254/latest/",
            Data("inside a network"),
        )
        .asked(1),
        proxied("redirects to this machine", "http://2130706433/x", Data("inside a network")).asked(1),
        proxied("redirects to this machine by IPv6", "http://[::ffff:7f00:1]/x", Data("inside a network"))
            .asked(1),
        proxied("redirects elsewhere", "http://other.example.org/x", Well(ROWS)).asked(2),
        paged.keys("rows: $.data[*]").keys("pages: {type: next_url, next: $.next}").asked(1),
    ]
}

fn contents() -> Vec<Case> {
    let body = |name, body: &[u8], ends| says(name, ok(body), ends);
    let quarantine = |name, bad: &[u8], reason| {
        let text = [br#"[{"id":7,"price":0.5},"#, bad, b"]"].concat();
        body(name, &text, Quarantine(reason)).keys("max_rejected: 1")
    };
    let deep = format!(r#"{{"id":1,"price":1.5,"deep":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let long_text = |mib: usize| {
        Reply::writing(move |wire| {
            wire.write_all(head(200, &[JSON, ("Connection", "close")]).as_bytes())?;
            wire.write_all(br#"[{"id":7,"price":0.5,"text":""#)?;
            for _ in 0..mib {
                wire.write_all(&[b'x'; 1 << 20])?;
            }
            wire.write_all(br#""}]"#).map(|()| Then::Close)
        })
    };
    let utf16: Vec<u8> = [0xFF, 0xFE].into_iter().chain(ROWS.bytes().flat_map(|b| [b, 0])).collect();
    let names: Vec<String> = (0..20_000).map(|n| format!(r#"{{"k{n}":1}}"#)).collect();
    let mut cases = vec![
        body("a byte order mark", format!("\u{feff}{ROWS}").as_bytes(), Well(ROWS)),
        body("UTF-16", &utf16, Data("not a JSON array")),
        quarantine("bad UTF-8", b"{\"id\":1,\"t\":\"\xC3\x28\"}", "not UTF-8"),
        quarantine("Latin-1", b"{\"id\":1,\"t\":\"Bogot\xE1\"}", "0xE1"),
        quarantine("NaN", br#"{"id":1,"price":NaN}"#, "not JSON"),
        quarantine("a number beyond a double", br#"{"id":1,"price":1e999}"#, "beyond the range"),
        quarantine("a row that is none", b"17", "not an object"),
        quarantine("100000 lists in each other", deep.as_bytes(), "nested too deeply"),
        body("a key that stands twice", br#"[{"id":1,"price":1.5,"id":7,"price":0.5}]"#, Well(ROWS)),
        body("JSON that is cut", &ROWS.as_bytes()[..15], Data("truncated")),
        body("JSON with something behind it", format!("{ROWS} x").as_bytes(), Data("more after")),
        body("100000 brackets", "[".repeat(100_000).as_bytes(), Data("truncated")),
        body("null", b"null", Well("[]")),
        body(
            "more columns than a table has",
            format!("[{}]", names.join(",")).as_bytes(),
            Data("more than 10000 columns"),
        ),
        body(
            "nothing but bad rows",
            format!("[{}1]", "1,".repeat(300_000)).as_bytes(),
            Data("rows cannot be used"),
        ),
        body(
            "a long list at a path",
            format!("{{\"data\":[{}1]}}", "1,".repeat(300_000)).as_bytes(),
            Data("rows cannot be used"),
        )
        .keys("rows: $.data[*]"),
        says("a text beyond the limit", long_text(8), Data("4 MiB")),
        Case { limit: 32, total: 20, ..says("a text of 20 MB within the limit", long_text(20), Well(ROWS)) },
    ];
    if long() {
        let huge = says("a text of 1 GB", long_text(1 << 10), Data("200 MiB"));
        cases.push(Case { limit: 200, total: 120, ..huge });
        let wide =
            says("a text of 100 MB within the limit", long_text(100), Data("a row is longer than 64 MiB"));
        cases.push(Case { limit: 200, total: 120, ..wide });
    }
    cases
}

fn pages() -> Vec<Case> {
    let error = r#"{"error": "quota exceeded"}"#;
    let page = |server: Server, name, ends| Case::of(name, server, ends).keys("pages: {type: page, size: 1}");
    let race = |n: usize| match n {
        0 => reply_and_stay(200, &[JSON], ROWS),
        1 => Reply::hang_up(),
        2 => ok(r#"[{"id":8,"price":1.5}]"#),
        _ => ok("[]"),
    };
    vec![
        page(Server::script(vec![ok(ROWS)]), "the same page for ever", Data("same rows")).asked(2),
        page(
            Server::script(vec![ok(ROWS), ok(error)]),
            "an error in place of a page",
            Data("one object and not a page"),
        ),
        page(
            Server::script(vec![ok(ROWS), ok("null")]),
            "null in place of a page",
            Data("neither rows nor an empty list"),
        ),
        page(
            Server::new(move |n, _| race(n)),
            "closes a connection that is used again",
            Well(r#"[{"id":7,"price":0.5},{"id":8,"price":1.5}]"#),
        ),
    ]
}

fn connections(folder: &Path) -> Vec<Case> {
    let authority = Authority::new().unwrap();
    let trusted = folder.join("authority.pem").display().to_string();
    authority.write(Path::new(&trusted)).unwrap();
    let good = authority.certify("127.0.0.1", false).unwrap();
    let tls = |name, certificate: &Certificate, ends| {
        Case::of(name, Server::tls(certificate, |_, _| ok(ROWS)), ends).env("SSL_CERT_FILE", &trusted)
    };
    let h2 = |name, ends, serve: fn(usize, &mut Http2<'_>) -> io::Result<()>| {
        Case::of(name, Server::http2(&good, serve), ends).env("SSL_CERT_FILE", &trusted)
    };
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let plain = Server::script(vec![ok(ROWS)]);
    let plain_as_tls = plain.url.replace("http:", "https:") + "/items";
    let unknown = Authority::new().unwrap().certify("127.0.0.1", false).unwrap();
    let mut cases = vec![
        tls("TLS as it should be", &good, Well(ROWS)),
        tls("a certificate of nobody we trust", &unknown, Data("certificate")),
        tls(
            "a certificate that has expired",
            &authority.certify("127.0.0.1", true).unwrap(),
            Data("certificate"),
        ),
        tls(
            "a certificate for another host",
            &authority.certify("a.example", false).unwrap(),
            Data("certificate"),
        ),
        Case {
            server: Some(plain),
            ..Case::at("no TLS where it should be", plain_as_tls, Temporary("cannot connect"))
        },
        h2("HTTP/2 as it should be", Well(ROWS), |_, connection| {
            loop {
                let stream = connection.request()?;
                connection.answer(stream, ROWS.as_bytes())?;
            }
        }),
        h2("HTTP/2 GOAWAY, then good", Well(ROWS), |n, connection| {
            let stream = connection.request()?;
            if n == 0 { connection.go_away(0) } else { connection.answer(stream, ROWS.as_bytes()) }
        }),
        // The second attempt may still be given the connection that is going away.
        Case {
            attempts: 3,
            ..h2("HTTP/2 GOAWAY in the body, then good", Well(ROWS), |n, connection| {
                let stream = connection.request()?;
                if n > 0 {
                    return connection.answer(stream, ROWS.as_bytes());
                }
                connection.begin_answer(stream)?;
                connection.go_away(stream)
            })
        },
        h2("HTTP/2 GOAWAY for ever", Temporary("items"), |_, connection| {
            connection.request()?;
            connection.go_away(0)
        }),
        Case::at(
            "a name that does not exist",
            "http://does-not-exist.invalid/items".into(),
            Temporary("cannot connect"),
        ),
        Case::at("nobody listens", format!("http://{nobody}/items"), Temporary("cannot connect")),
    ];
    match Server::at("[::1]:0", |_, _| ok(ROWS)) {
        Ok(server) => cases.push(Case::of("only IPv6", server, Well(ROWS))),
        Err(error) => println!("this machine has no IPv6: {error}"),
    }
    cases
}

/// A run of the binary, with the most memory that it ever had.
struct Run {
    done: Done,
    time: Duration,
    peak: u64,
}

fn run(place: &Place, env: &[(&'static str, String)]) -> Run {
    let mut command = place.command(&["run", "--json"]);
    for name in [
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "no_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
    ] {
        command.env_remove(name);
    }
    command.envs(env.iter().map(|(name, value)| (name, value)));
    let begun = Instant::now();
    let (output, peak) = weighed(&mut command, place.dir.path());
    Run { time: begun.elapsed(), done: Done::of(output), peak }
}

/// A project like `case`'s that has loaded a good answer before.
fn prepared(good: &Place, case: &Case) -> Place {
    let place = Place::project(&[("trusted/items.sql", MODEL)]);
    place.write("lagar.yaml", case.project());
    if case.kind != "rest" {
        // A source keeps its kind.
        return place;
    }
    let copied =
        Command::new("cp").arg("-a").arg(good.project.join(".")).arg(&place.project).status().unwrap();
    assert!(copied.success());
    place.write("lagar.yaml", case.project());
    place
}

/// Everything in the lake but what was refused.
fn published(place: &Place) -> Vec<(String, Vec<u8>)> {
    place.lake_files().into_iter().filter(|(path, _)| !path.contains("_quarantine")).collect()
}

fn check(case: &Case, good: &Place, normal_peak: u64) {
    let place = prepared(good, case);
    let before = published(&place);
    let Run { done, time, peak } = run(&place, &case.env);
    let shown = format!("{}: exit {} after {time:.1?}\n{}", case.name, done.code, done.stderr);
    assert!(time <= case.deadline() + LATE, "{shown}");
    let limit = normal_peak + (case.limit << 20) + MEMORY_BEYOND_LIMIT;
    assert!(peak <= limit, "{} MiB of at most {} MiB: {shown}", peak >> 20, limit >> 20);
    let (code, words) = match case.ends {
        Well(_) | Quarantine(_) => (0, ""),
        Data(words) => (1, words),
        Temporary(words) => (75, words),
    };
    assert_eq!(done.code, code, "{shown}");
    done.says(code, &[words]);
    match case.ends {
        Well(rows) => {
            let found = place.rows("SELECT id, price FROM trusted.items ORDER BY id");
            assert_eq!(
                serde_json::Value::Array(found),
                serde_json::from_str::<serde_json::Value>(rows).unwrap(),
                "{shown}"
            );
        }
        Quarantine(reason) => {
            let report = done.json();
            let load = step(&report, "raw.items");
            assert_eq!((&load["rows_out"], &load["rows_rejected"]), (&1.into(), &1.into()), "{shown}");
            let found = place.rows("SELECT _reason FROM quarantine.items");
            assert!(found[0]["_reason"].as_str().unwrap().contains(reason), "{found:?}");
        }
        Data(_) | Temporary(_) => {
            assert!(published(&place) == before, "something became visible or went away: {shown}");
            assert_eq!(done.json()["release"], serde_json::Value::Null, "{shown}");
        }
    }
    let requests = case.server.as_ref().map(Server::requests).unwrap_or_default();
    if let Some(asked) = case.asked {
        assert_eq!(requests.len(), asked, "{shown}");
    }
    if let Some((at_least, at_most)) = case.waits {
        let waited = (requests[1].at - requests[0].at).as_secs_f64();
        assert!((at_least..=at_most).contains(&waited), "waited {waited:.2} s: {shown}");
    }
    println!("{}: {:.1} s, {} MiB", case.name, time.as_secs_f64(), peak >> 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_servers_end_a_run_as_they_should() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::script(vec![ok(r#"[{"id":1,"price":2.5}]"#), ok(ROWS)]);
    let first = Case::of("a good answer", server, Well(ROWS));
    let good = Place::project(&[("lagar.yaml", &first.project()), ("trusted/items.sql", MODEL)]);
    good.run(&[]);
    let normal = run(&prepared(&good, &first), &[]);
    assert_eq!(normal.done.code, 0, "{}", normal.done.stderr);

    let cases = [slow_or_endless(), lengths_and_packing(), statuses(), redirects(), contents(), pages()];
    let mut cases: Vec<Case> = cases.into_iter().flatten().chain(connections(folder.path())).collect();
    // One alone: LAGAR_CASE="gzip in gzip".
    if let Ok(only) = std::env::var("LAGAR_CASE") {
        cases.retain(|case| case.name == only);
        assert!(!cases.is_empty(), "there is no case `{only}`");
    }
    println!("a good answer: {:.1} s, {} MiB", normal.time.as_secs_f64(), normal.peak >> 20);
    let good = Arc::new(good);
    let cases = cases.into_iter().map(|case| {
        let good = good.clone();
        let replay =
            format!("LAGAR_CASE=\"{}\" cargo test -p lagar-cli --test e2e hostile_servers", case.name);
        let work = async move {
            tokio::task::spawn_blocking(move || check(&case, &good, normal.peak)).await.unwrap();
        };
        (replay, work)
    });
    Battery::new("S1").all(4, cases.collect::<Vec<_>>()).await;
}
