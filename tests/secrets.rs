//! X5: a secret is used and never told. Each case puts canaries into the places for secrets, provokes a
//! failure (and makes sure that it happened), runs everything at the highest log level, and then looks
//! for the canaries in all that was printed and written: plain, encoded for URLs, in base64, and their
//! first eight characters.
//!
//! The servers are careless or hostile: they send back whatever they were sent.

mod hunt;
mod servers;

use std::{
    fs,
    sync::atomic::{AtomicUsize, Ordering},
};

use lagar_testing::{
    Battery,
    http::{Reply, Request, reply},
};

use crate::support::{Done, Place, step};
use hunt::{Scene, canary, in_url};
use servers::{echo, http, mysql, postgres, with_login};

const REPLAY: &str = "cargo test -p lagar-cli --test e2e secrets::";
const JSON: (&str, &str) = ("Content-Type", "application/json");
const ROWS: &str = r#"[{"id":1,"price":2.5}]"#;

fn scene(keys: &str) -> Scene {
    let yaml = format!("name: canaries\nsources:\n  items:\n{keys}");
    let model = "-- Items.\nSELECT id FROM raw.items WHERE _newest\n";
    Scene::new(Place::project(&[("lagar.yaml", &yaml), ("trusted/items.sql", model)]))
}

fn rest(url: &str, keys: &str) -> Scene {
    scene(&format!(
        "    type: rest\n    url: {url}\n    retry: {{attempts: 2, wait: 1ms, max_wait: 1ms}}\n{keys}"
    ))
}

/// Runs, expects the exit code and every part on stderr, and then looks for what was told.
#[track_caller]
fn ends(scene: &mut Scene, code: i32, parts: &[&str]) -> Done {
    let done = scene.lagar(&["run", "--json"]);
    assert_eq!(done.code, code, "{}\n{}", done.stdout, errors(&done));
    for part in parts {
        assert!(done.stderr.contains(part), "`{part}` is not in:\n{}", errors(&done));
    }
    scene.look_around();
    scene.nothing_is_told();
    done
}

/// The lines of stderr that are no log of a library.
fn errors(done: &Done) -> String {
    let logged = |line: &&str| !["TRACE", "DEBUG"].iter().any(|level| line.trim_start().starts_with(level));
    done.stderr.lines().filter(logged).collect::<Vec<_>>().join("\n")
}

fn refuse(status: u16) -> impl Fn(&Request) -> Reply + Send + Sync + 'static {
    move |request| reply(status, &[], echo(request))
}

#[test]
fn logins_over_http() {
    let mut battery = Battery::new("X5");
    let [a, b, c, d] = [1, 2, 3, 4].map(canary);
    for (name, status, code, keys) in [
        ("bearer", 401, 1, "    auth: {bearer: \"${API_TOKEN}\"}\n"),
        ("bearer", 500, 75, "    auth: {bearer: \"${API_TOKEN}\"}\n"),
        ("basic", 403, 1, "    auth: {basic: {user: me, password: \"${API_TOKEN}\"}}\n"),
        ("basic", 401, 1, "    auth: {basic: {user: mee, password: \"${API_TOKEN}\"}}\n"),
        ("api_key in a header", 400, 1, "    auth: {api_key: {header: X-Key, value: \"${API_TOKEN}\"}}\n"),
        ("api_key in the query", 404, 1, "    auth: {api_key: {query: appid, value: \"${API_TOKEN}\"}}\n"),
        ("a header", 401, 1, "    headers: {X-App: \"${API_TOKEN}\", Accept: text/plain}\n"),
        ("a parameter", 404, 1, "    params: {token: \"${API_TOKEN}\"}\n"),
        ("a parameter with any name", 404, 1, "    params: {q: \"${API_TOKEN}\"}\n"),
    ] {
        battery.case(&format!("{REPLAY}logins_over_http ({name}, {status})"), || {
            let mut scene = rest(&format!("{}/items", http(refuse(status))), keys);
            let shown = status.to_string();
            // A refusal that is not worth another attempt is shown as the server wrote it.
            let told = if code == 1 { vec![&*shown, "you sent", "***"] } else { vec![&*shown] };
            ends(scene.secret("API_TOKEN", &a), code, &told);
        });
    }
    battery.case(&format!("{REPLAY}logins_over_http (user info of the address)"), || {
        let url = with_login(&http(refuse(403)), &b);
        let mut scene = rest("${ADDRESS}/items", "");
        ends(scene.env("ADDRESS", &url).hidden(&b), 1, &["403", "you sent", "***"]);
    });
    battery.case(&format!("{REPLAY}logins_over_http (connection refused)"), || {
        let mut scene =
            rest("${ADDRESS}/items?key=${API_TOKEN}", "    headers: {X-App: \"${OTHER_SECRET}\"}\n");
        scene.env("ADDRESS", &with_login("http://127.0.0.1:1", &b)).hidden(&b);
        ends(scene.secret("API_TOKEN", &c).secret("OTHER_SECRET", &d), 75, &["cannot connect"]);
    });
    battery.case(&format!("{REPLAY}logins_over_http (TLS failure)"), || {
        let url = with_login(&http(refuse(200)).replace("http:", "https:"), &b);
        let mut scene = rest("${ADDRESS}/items", "    params: {q: \"${API_TOKEN}\"}\n");
        ends(scene.env("ADDRESS", &url).hidden(&b).secret("API_TOKEN", &c), 75, &["cannot connect"]);
    });
    battery.case(&format!("{REPLAY}logins_over_http (a file, signed)"), || {
        let keys = format!(
            "    type: file\n    format: csv\n    url: {}/x.csv?X-Amz-Signature=${{SIGNED}}&sig=${{API_TOKEN}}&n=1\n",
            http(refuse(403))
        );
        let mut scene = scene(&keys);
        scene.secret("API_TOKEN", &a).env("SIGNED", &in_url(&b)).hidden(&b);
        ends(&mut scene, 1, &["403", "you sent", "n=1"]);
    });
}

#[test]
fn oauth2() {
    let mut battery = Battery::new("X5");
    let [secret, token] = [1, 2].map(canary);
    let given = format!(r#"{{"access_token":"{token}","expires_in":3600}}"#);
    type Answering = Box<dyn Fn(&Request) -> Reply + Send + Sync>;
    let cases: [(&str, i32, &[&str], Answering); 5] = [
        ("refused", 1, &["401", "you sent"], Box::new(refuse(401))),
        ("refused by form", 1, &["400", "you sent"], Box::new(refuse(400))),
        ("no JSON", 1, &["access_token"], {
            let cut = given[..given.len() - 3].to_owned();
            Box::new(move |_| reply(200, &[JSON], &cut))
        }),
        ("the token is echoed", 1, &["403", "you sent", "***"], {
            let given = given.clone();
            Box::new(move |request| match request.path() {
                "/token" => reply(200, &[JSON], &given),
                _ => reply(403, &[], echo(request)),
            })
        }),
        ("the token is refused", 1, &["401", "you sent", "***"], {
            Box::new(move |request| match request.path() {
                "/token" => reply(200, &[JSON], &given),
                _ => reply(401, &[], echo(request)),
            })
        }),
    ];
    for (name, code, parts, respond) in cases {
        battery.case(&format!("{REPLAY}oauth2 ({name})"), || {
            let url = http(respond);
            let keys = format!(
                "    auth: {{oauth2: {{token_url: {url}/token, client_id: me, client_secret: \"${{CLIENT_SECRET}}\"}}}}\n"
            );
            let mut scene = rest(&format!("{url}/items"), &keys);
            ends(scene.secret("CLIENT_SECRET", &secret).hidden(&token), code, parts);
        });
    }
}

#[test]
fn redirects_pages_and_headers_of_answers() {
    let mut battery = Battery::new("X5");
    let [a, b] = [1, 2].map(canary);
    let auth = "    auth: {bearer: \"${API_TOKEN}\"}\n";
    let fails = |url: &str, keys: &str, parts: &[&str]| {
        let mut scene = rest(&format!("{url}/items"), &format!("{auth}{keys}"));
        ends(scene.secret("API_TOKEN", &a).hidden(&b), 1, parts)
    };
    battery.case(&format!("{REPLAY}redirects (to a query with secrets, same host)"), || {
        let location = format!("/there?access_token={}&sig={}", in_url(&a), in_url(&b));
        let url = http(move |request| match request.path() {
            "/items" => reply(302, &[("Location", &location)], ""),
            _ => reply(404, &[], echo(request)),
        });
        fails(&url, "", &["404", "/there"]);
    });
    battery.case(&format!("{REPLAY}redirects (to another host)"), || {
        let location = format!("{}/there?sig={}", with_login(&http(refuse(401)), &b), in_url(&b));
        let url = http(move |_| reply(302, &[("Location", &location)], ""));
        let done = fails(&url, "", &["another host"]);
        // Not redacted: it was not sent.
        assert!(!done.stderr.to_lowercase().contains("| authorization"), "{}", errors(&done));
    });
    battery.case(&format!("{REPLAY}redirects (for ever)"), || {
        let location = format!("/there?token={}", in_url(&b));
        let url = http(move |_| reply(302, &[("Location", &location)], ""));
        fails(&url, "", &["redirects more than"]);
    });
    battery.case(&format!("{REPLAY}redirects (to no http)"), || {
        let location = format!("ftp://x:{}@h/", in_url(&b));
        let url = http(move |_| reply(302, &[("Location", &location)], ""));
        fails(&url, "", &["ftp:"]);
    });
    battery.case(&format!("{REPLAY}pages (the second one fails)"), || {
        let calls = AtomicUsize::new(0);
        let next = in_url(&b);
        let url = http(move |request| match calls.fetch_add(1, Ordering::SeqCst) {
            0 => reply(200, &[JSON], format!(r#"{{"rows":[{{"id":1}}],"next":"/more?token={next}"}}"#)),
            _ => reply(403, &[], echo(request)),
        });
        let keys = "    rows: $.rows[*]\n    pages: {type: next_url, next: $.next}\n";
        fails(&url, keys, &["403", "/more"]);
    });
    battery.case(&format!("{REPLAY}headers (secrets come back in an answer that is taken)"), || {
        let sent = a.clone();
        let url = http(move |_| {
            let etag = format!("\"{sent}\"");
            let link = format!("</items?token={}>; rel=prev", in_url(&sent));
            let headers =
                [JSON, ("ETag", &etag), ("Last-Modified", &sent), ("Link", &link), ("Set-Cookie", &sent)];
            reply(200, &headers, ROWS)
        });
        let mut scene =
            rest(&format!("{url}/items"), &format!("{auth}    params: {{q: \"${{OTHER_TOKEN}}\"}}\n"));
        scene.secret("API_TOKEN", &a).secret("OTHER_TOKEN", &b);
        // Twice: the second run asks with the position of the first.
        for _ in 0..2 {
            ends(&mut scene, 0, &[]);
        }
        assert_eq!(scene.place.rows("SELECT id FROM raw.items").len(), 1);
    });
    battery.case(&format!("{REPLAY}headers (of a file)"), || {
        let sent = a.clone();
        let url = http(move |_| {
            reply(200, &[("ETag", &format!("\"{sent}\"")), ("Last-Modified", &sent)], "id\n1\n")
        });
        let mut scene =
            scene(&format!("    type: file\n    url: {url}/items.csv?q=${{OTHER_TOKEN}}\n{auth}"));
        scene.secret("API_TOKEN", &a).secret("OTHER_TOKEN", &b);
        ends(&mut scene, 0, &[]);
    });
}

#[test]
fn a_proxy_and_its_password() {
    let mut battery = Battery::new("X5");
    let secret = canary(1);
    for (name, code, parts, proxy) in [
        ("refuses", 1, vec!["407", "you sent"], http(refuse(407))),
        ("is not there", 75, vec!["cannot connect"], "http://127.0.0.1:1".to_owned()),
    ] {
        for target in ["http", "https"] {
            battery.case(&format!("{REPLAY}a_proxy (for {target}, {name})"), || {
                let proxy = with_login(&proxy, &secret);
                let mut scene = rest(&format!("{target}://a.invalid/items"), "");
                scene
                    .env(&format!("{}_PROXY", target.to_uppercase()), &proxy)
                    .env(&format!("{target}_proxy"), &proxy);
                scene.hidden(&secret);
                // A tunnel that is refused is a connection that cannot be made.
                let (code, parts) =
                    if target == "https" { (75, vec!["cannot connect"]) } else { (code, parts.clone()) };
                ends(&mut scene, code, &parts);
            });
        }
    }
}

#[test]
fn redacted_keys() {
    let mut battery = Battery::new("X5");
    let secret = canary(1);
    let body = format!(
        r#"[{{"id":1,"price":2.5,"password":"{secret}"}},{{"id":2,"price":"x","in":{{"password":"{secret}"}}}}]"#
    );
    let keys = "    redact: [password]\n    columns: {price: double}\n";
    for (name, max_rejected, code) in [("taken", 1, 0), ("refused for its rejected rows", 0, 1)] {
        battery.case(&format!("{REPLAY}redacted_keys ({name})"), || {
            let body = body.clone();
            let url = http(move |_| reply(200, &[JSON], &body));
            let mut scene =
                rest(&format!("{url}/items"), &format!("{keys}    max_rejected: {max_rejected}\n"));
            let done = ends(scene.hidden(&secret), code, &[]);
            assert_eq!(step(&done.json(), "raw.items")["rows_rejected"], 1);
            assert_eq!(scene.place.rows("SELECT _value FROM quarantine.items").len(), 1);
        });
    }
    for (name, status, body) in [
        ("in a refusal", 404, body.clone()),
        ("in an answer that is cut", 200, body[..body.len() - 4].to_owned()),
        ("in a refusal that is cut", 404, body[..body.len() - 4].to_owned()),
    ] {
        battery.case(&format!("{REPLAY}redacted_keys ({name})"), || {
            let url = http(move |_| reply(status, &[JSON], &body));
            ends(rest(&format!("{url}/items"), keys).hidden(&secret), 1, &["raw.items"]);
        });
    }
}

#[test]
fn databases() {
    let mut battery = Battery::new("X5");
    let [a, b] = [1, 2].map(canary);
    let said = |number| mysql(number, format!("Access denied, you sent {a} and {b}"));
    for (name, code, parts, address, keys) in [
        (
            "connection refused",
            75,
            &["127.0.0.1"][..],
            "postgres://u:SECRET@127.0.0.1:1/d".to_owned(),
            "    table: t\n",
        ),
        (
            "the login is refused",
            1,
            &["refused the login"],
            format!("postgres://u:SECRET@{}/d", postgres("28P01")),
            "    table: t\n",
        ),
        (
            "the server echoes",
            1,
            &["you sent the password ***"],
            format!("postgres://u:SECRET@{}/d", postgres("XX000")),
            "    table: t\n",
        ),
        (
            "password as a parameter",
            1,
            &["you sent the password ***"],
            format!("postgres://{}/d?user=u&password=SECRET", postgres("XX000")),
            "    table: t\n",
        ),
        (
            "no TLS where it must be",
            1,
            &["127.0.0.1"],
            format!("postgres://u:SECRET@{}/d?sslmode=require", postgres("XX000")),
            "    table: t\n",
        ),
        (
            "MySQL refuses the login",
            1,
            &["refused the login"],
            format!("mysql://u:SECRET@{}/d", said(1045)),
            "    table: t\n",
        ),
        (
            "MySQL echoes",
            1,
            &["you sent *** and ***"],
            format!("mysql://u:SECRET@{}/d", said(1064)),
            "    query: \"SELECT '${OTHER_TOKEN}'\"\n",
        ),
        (
            "MySQL, connection refused",
            75,
            &["127.0.0.1"],
            "mysql://u:SECRET@127.0.0.1:1/d".to_owned(),
            "    query: \"SELECT '${OTHER_TOKEN}'\"\n",
        ),
        (
            "an address with a mistake",
            2,
            &["lagar.yaml"],
            "postgres://u:SECRET?SECRET@h/d".to_owned(),
            "    table: t\n",
        ),
        (
            "an unknown parameter",
            2,
            &["not a parameter"],
            "mysql://u:SECRET@h/d?x=SECRET".to_owned(),
            "    table: t\n",
        ),
    ] {
        battery.case(&format!("{REPLAY}databases ({name})"), || {
            let keys = format!("    type: sql\n    url: ${{ADDRESS}}\n    retry: {{attempts: 2, wait: 1ms, max_wait: 1ms}}\n{keys}");
            let mut scene = scene(&keys);
            scene.env("ADDRESS", &address.replace("SECRET", &in_url(&a))).hidden(&a).secret("OTHER_TOKEN", &b);
            ends(&mut scene, code, parts);
        });
    }
    battery.case(&format!("{REPLAY}databases (a password that is not encoded)"), || {
        // The URL is wrong, and its owner finds out; what stands in it is not shown all the same.
        let mut scene = scene("    type: sql\n    url: ${ADDRESS}\n    table: t\n");
        let secret = "Zq09vK8w?Pd#7/2Tn";
        scene.env("ADDRESS", &format!("postgres://u:{secret}@127.0.0.1:1/d")).hidden(secret);
        let done = scene.lagar(&["run"]);
        assert_ne!(done.code, 0, "{}", errors(&done));
        scene.look_around();
        scene.nothing_is_told();
    });
}

#[test]
fn a_bucket_that_refuses() {
    let mut battery = Battery::new("X5");
    let [key, secret, token, user] = [1, 2, 3, 4].map(canary);
    let model = "-- Items.\nSELECT id FROM raw.items\n";
    let in_bucket = "sources:\n  items:\n    type: file\n    url: s3://bucket/items.csv\n";
    let lake = "lake: s3://bucket/lake\nsources:\n  items:\n    type: file\n    url: items.csv\n";
    for (name, status, yaml) in [
        ("a source, 403", 403, in_bucket),
        ("a source, 400", 400, in_bucket),
        ("the lake, 403", 403, lake),
        ("the lake, 400", 400, lake),
    ] {
        battery.case(&format!("{REPLAY}a_bucket_that_refuses ({name})"), || {
            let endpoint = http(move |request| {
                // As S3 does when a signature does not fit: it shows what it has signed.
                let body = format!(
                    "<Error><Code>SignatureDoesNotMatch</Code><CanonicalRequest>{}</CanonicalRequest></Error>",
                    echo(request)
                );
                reply(status, &[("Content-Type", "application/xml")], &body)
            });
            let yaml = format!("name: canaries\n{yaml}");
            let files = [("lagar.yaml", yaml.as_str()), ("trusted/items.sql", model), ("items.csv", "id\n1\n")];
            let mut scene = Scene::new(Place::project(&files));
            scene.secret("AWS_ACCESS_KEY_ID", &key).secret("AWS_SECRET_ACCESS_KEY", &secret);
            scene.secret("AWS_SESSION_TOKEN", &token).env("AWS_REGION", "us-east-1");
            scene.hidden(&user).env("AWS_ENDPOINT_URL", &with_login(&endpoint, &user));
            let done = scene.lagar(&["run", "--json"]);
            assert_ne!(done.code, 0, "{}", errors(&done));
            let doctor = scene.lagar(&["doctor"]);
            assert_eq!(doctor.code, 1, "{}", errors(&doctor));
            scene.look_around();
            scene.nothing_is_told();
        });
    }
}

#[test]
fn a_project_file_with_mistakes() {
    let mut battery = Battery::new("X5");
    let secret = canary(1);
    // What is wrong stands beside the secret, around it, or the secret stands in the wrong place.
    for (number, lines) in [
        "    auth: {bearer: SECRET}}",
        "    auth: {bearer: \"SECRET}",
        "    auth: {bearer: 'SECRET}\n    params: {a: b}",
        "    auth: {bearer SECRET}",
        "    auth: {bearer:SECRET}",
        "    auth: SECRET",
        "    auth: [SECRET]",
        "    auth:\n     bearer: SECRET\n      more: x",
        "    auth: {bearer: !!int SECRET}",
        "    auth: {bearer: [SECRET]}",
        "    auth: {bearer: {SECRET: 1}}",
        "    auth: {basic: {user: me, pass: SECRET}}",
        "    auth: {basic: {user: me, password: {x: SECRET}}}",
        "    auth: {api_key: {value: SECRET}}",
        "    auth: {oauth2: {token_url: \"http://u:SECRET@\", client_id: a, client_secret: SECRET}}",
        "    headers: SECRET",
        "    headers: {X-Token: [SECRET]}",
        "    headers: {X-Token: SECRET\n    rate: 5/s",
        "    params: {token: {a: SECRET}}",
        "    rate: ${API_TOKEN}",
        "    timeout: {total: \"${API_TOKEN}\"}",
        "    rows: ${API_TOKEN}",
        "    columns: {a: \"${API_TOKEN}\"}",
        "    max_rejected: ${API_TOKEN}",
        "    schema: ${API_TOKEN}",
        "    ${API_TOKEN}",
        "    pages: {type: \"${API_TOKEN}\"}",
        "  other: {type: \"${API_TOKEN}\"}",
        "timezone: ${API_TOKEN}",
        "dialect: ${API_TOKEN}",
        "lake: s3://k:${API_TOKEN}@bucket/x",
        "lake: ${API_TOKEN}://bucket/x",
        "limits: {memory: \"${API_TOKEN}\"}",
        "limits: {threads: \"${API_TOKEN}\"}",
        "vars: {a: \"${API_TOKEN:-${b\"}",
        "vars: {token: SECRET, b: [x]}",
    ]
    .into_iter()
    .enumerate()
    {
        battery.case(&format!("{REPLAY}a_project_file_with_mistakes ({number}: {lines})"), || {
            let lines = lines.replace("SECRET", &secret);
            let mut scene = rest("http://127.0.0.1:1/items", &format!("{lines}\n"));
            scene.secret("API_TOKEN", &secret);
            let done = scene.lagar(&["check"]);
            assert!(matches!(done.code, 1 | 2), "{}\n{}", done.stdout, errors(&done));
            let done = scene.lagar(&["run", "--json"]);
            assert!(matches!(done.code, 1 | 2), "{}\n{}", done.stdout, errors(&done));
            scene.lagar(&["config", "show", "--origin"]);
            scene.nothing_is_told();
        });
    }
    for (name, text) in
        [("without =", "SECRET\n"), ("quote", "API_TOKEN='SECRET\n"), ("name", "my key=SECRET\n")]
    {
        battery.case(&format!("{REPLAY}a_project_file_with_mistakes (.env: {name})"), || {
            let mut scene = rest("http://127.0.0.1:1/items", "");
            scene.place.write(".env", text.replace("SECRET", &secret));
            let done = scene.hidden(&secret).lagar(&["run"]);
            assert_eq!(done.code, 2, "{}", errors(&done));
            scene.lagar(&["config", "show", "--origin"]);
            scene.nothing_is_told();
        });
    }
}

#[test]
fn secrets_from_outside_of_the_project_file() {
    let mut battery = Battery::new("X5");
    let secret = canary(1);
    let url = http(refuse(401));
    battery.case(&format!("{REPLAY}secrets_from_outside (LAGAR__…)"), || {
        let mut scene = rest(&format!("{url}/items"), "");
        scene.secret("LAGAR__SOURCES__ITEMS__AUTH__BEARER", &secret);
        ends(&mut scene, 1, &["401", "you sent", "***"]);
    });
    battery.case(&format!("{REPLAY}secrets_from_outside (.env)"), || {
        let mut scene = rest(&format!("{url}/items"), "    headers: {X-A: \"${API_TOKEN}\"}\n");
        scene.place.write(".env", format!("API_TOKEN='{secret}'\n"));
        ends(scene.hidden(&secret), 1, &["401", "you sent", "***"]);
    });
    battery.case(&format!("{REPLAY}secrets_from_outside (vars)"), || {
        let mut scene = rest(
            &format!("{url}/items"),
            "    auth: {bearer: \"${vars.api_token}\"}\nvars: {api_token: \"${X}\"}\n",
        );
        scene.env("X", &secret).hidden(&secret);
        ends(&mut scene, 1, &["401", "you sent", "***"]);
    });
    // On a command line everybody can read it; nothing else tells it.
    battery.case(&format!("{REPLAY}secrets_from_outside (--var)"), || {
        let scene = rest(
            &format!("{url}/items"),
            "    auth: {bearer: \"${vars.api_token}\"}\nvars: {api_token: none}\n",
        );
        let var = format!("api_token={secret}");
        for args in [&["run", "--json"][..], &["config", "show", "--origin"], &["plan"], &["runs", "show"]] {
            let done = scene.place.lagar(&[args, &["--var", &var]].concat());
            for text in [&done.stdout, &done.stderr] {
                assert!(hunt::found(text.as_bytes(), &secret).is_none(), "{args:?}: {text}");
            }
        }
        let history = fs::read(scene.place.project.join(".lagar/history.db")).unwrap();
        assert!(hunt::found(&history, &secret).is_none());
    });
}

#[test]
fn a_panic() {
    let mut battery = Battery::new("X5");
    for point in ["load-files-put", "model-staged", "release-due"] {
        battery.case(&format!("{REPLAY}a_panic ({point})"), || {
            let mut scene = rest(
                &format!("{}/items", http(|_| reply(200, &[JSON], ROWS))),
                "    auth: {bearer: \"${API_TOKEN}\"}\n",
            );
            scene.secret("API_TOKEN", &canary(1)).env("LAGAR_KILL_POINT", &format!("{point}:panic"));
            // The hook cannot know what it was never told; the lake's own keys are learnt from their names.
            scene.secret("AWS_SECRET_ACCESS_KEY", &canary(2));
            ends(&mut scene, 70, &["asked to panic in", "API_TOKEN", "please report this"]);
        });
    }
}
