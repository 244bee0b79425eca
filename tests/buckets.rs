//! Lakes, projects and sources in buckets: the binary against a real MinIO.

mod logins;
mod minio;

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use lagar_testing::{Battery, long};
use serde_json::{Value, json};

use crate::support::{Done, Place, http, python, root, step};
use logins::{Session, ShortLived, assume_role, document, forward, in_seconds, reply, serve};
use minio::{Machine, Server, minio};

/// Rows and sums of the shop in every zone; of raw what the sources have now.
const SUMS: &str = "SELECT \
    (SELECT count(*) FROM raw.orders WHERE _newest) AS raw_orders, \
    (SELECT count(*) FROM raw.carts WHERE _newest) AS raw_carts, \
    (SELECT count(*) FROM trusted.products) AS products, (SELECT count(*) FROM trusted.orders) AS orders, \
    (SELECT count(*) FROM trusted.cart_items) AS cart_items, \
    (SELECT sum(revenue) FROM refined.revenue_by_user) AS revenue, \
    (SELECT sum(units) FROM refined.sales_by_region) AS units";

/// The name under which a token for `https://example.org/start` lies: its SHA-1.
const SSO_CACHE: &str = "cff035caee6b12df6787d81bb8c079ea3b53e49e.json";

/// Takes half of the carts away.
fn change_carts(place: &Place) {
    let carts = place.dir.path().join("data-samples/shop/api/carts.json");
    let mut list: Vec<Value> = serde_json::from_slice(&fs::read(&carts).unwrap()).unwrap();
    list.truncate(list.len() / 2);
    fs::write(&carts, serde_json::to_vec(&list).unwrap()).unwrap();
}

/// MinIO cannot list what lies below a key that is an object itself.
#[track_caller]
fn no_key_is_a_folder(keys: &BTreeSet<String>) {
    for key in keys {
        for (at, _) in key.match_indices('/') {
            assert!(!keys.contains(&key[..at]), "{} is an object and the folder of {key}", &key[..at]);
        }
    }
}

#[test]
fn a_lake_in_a_bucket_is_the_same_as_one_in_a_folder() {
    let Some(minio) = minio() else { return };
    let folder = Place::sample("shop");
    folder.run(&[]);
    let bucket = Machine::shop(&minio, &minio.fresh());
    let report = bucket.run(&[]);
    assert_eq!((&report["status"], &report["release"]), (&json!("ok"), &json!(1)));
    let first = bucket.rows(SUMS);
    assert_eq!(first, folder.rows(SUMS));

    let before = minio.keys(&bucket.lake);
    no_key_is_a_folder(&before);
    assert_eq!(bucket.run(&[])["status"], "nothing_new");
    assert_eq!(minio.keys(&bucket.lake), before, "the lake was written to");

    change_carts(&folder);
    change_carts(&bucket.place);
    folder.run(&[]);
    let report = bucket.run(&[]);
    assert_eq!(step(&report, "raw.carts")["version"], 2);
    let second = bucket.rows(SUMS);
    assert_eq!(second, folder.rows(SUMS));
    assert_ne!(second, first);

    assert_eq!(bucket.lagar(&["releases", "rollback", "1"]).code, 0);
    let rolled_back = "SELECT sum(revenue) AS revenue FROM refined.revenue_by_user";
    assert_eq!(bucket.rows(rolled_back)[0]["revenue"], first[0]["revenue"]);
    bucket.lagar(&["run"]).says(0, &["held"]);
    assert_eq!(bucket.rows(rolled_back)[0]["revenue"], first[0]["revenue"]);
    assert_eq!(bucket.releases(), [1, 2, 3]);
    no_key_is_a_folder(&minio.keys(&bucket.lake));
}

#[test]
fn other_readers_see_the_rows_in_the_bucket() {
    let Some(minio) = minio() else { return };
    let Some(python) = python() else {
        println!("skipped: LAGAR_TEST_PYTHON is not set");
        return;
    };
    let shop = Machine::shop(&minio, &minio.fresh());
    shop.run(&[]);
    change_carts(&shop.place);
    shop.run(&[]);
    for (table, column) in [("trusted/cart_items", "quantity"), ("refined/an_products", "avg_price")] {
        let name = table.replace('/', ".");
        let ours = &shop.rows(&format!("SELECT count(*) AS rows, sum({column}) AS total FROM {name}"))[0];
        let mut command = Command::new(&python);
        shop.dress(&mut command);
        let readers =
            command.arg(root().join("tests/buckets/readers.py")).arg(format!("{}/{table}", shop.lake));
        let readers = Done::of(readers.arg(column).output().unwrap());
        assert_eq!(readers.code, 0, "{}", readers.stderr);
        assert_eq!(readers.stdout.lines().count(), 3, "three readers: {}", readers.stdout);
        for line in readers.stdout.lines() {
            let theirs: Value = serde_json::from_str(line).unwrap();
            assert_eq!(theirs["rows"], ours["rows"], "{table}: {line}");
            let (a, b) = (theirs["total"].as_f64().unwrap(), ours["total"].as_f64().unwrap());
            assert!((a - b).abs() <= 1e-9 * a.abs().max(1.0), "{table}: {line}, ours {b}");
        }
    }
}

/// MinIO is killed when so many steps of the run are done, and comes back while the run goes on.
#[test]
fn the_store_dies_in_the_middle_of_a_run() {
    let Some(mut server) = Server::start() else { return };
    let whole = Place::sample("shop");
    whole.run(&[]);
    let expected = whole.rows(SUMS);
    let moments: Vec<usize> = if long() { (0..14).collect() } else { vec![0, 4, 9] };
    for moment in moments {
        let shop = Machine::shop(&server.minio, &server.minio.fresh());
        let mut child = shop.command(&["run"]).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        while said.iter().filter(|line: &&String| line.contains('✓')).count() < moment {
            said.push(lines.next().expect("the run ended too early").unwrap());
        }
        server.kill();
        thread::sleep(Duration::from_millis(500)); // so long is it away
        server.restart();
        said.extend(lines.map(Result::unwrap));
        let code = child.wait().unwrap().code();
        assert!(
            matches!(code, Some(0 | 75)),
            "{code:?} when killed after step {moment}:\n{}",
            said.join("\n")
        );
        shop.run(&[]);
        assert_eq!(shop.rows(SUMS), expected, "killed after step {moment}");
        assert_eq!(shop.run(&[])["status"], "nothing_new");
        assert_eq!(shop.releases(), [1], "killed after step {moment}");
        let twice = "SELECT source, load FROM system.loads GROUP BY source, load HAVING count(*) > 1";
        assert!(shop.rows(twice).is_empty());
        assert_eq!(shop.rows("SELECT max(load) AS loads FROM system.loads"), [json!({"loads": 1})]);
    }
}

/// Two machines with a copy of the project each run it at the same time, against one lake.
#[test]
fn two_machines_share_a_lake() {
    let Some(minio) = minio() else { return };
    let whole = Place::sample("shop");
    whole.run(&[]);
    let expected = whole.rows(SUMS);
    let mut battery = Battery::new("R4");
    for round in 0..if long() { 20 } else { 3 } {
        let replay = format!("cargo test -p lagar-cli --test e2e two_machines_share_a_lake (round {round})");
        battery.case(&replay, || {
            let lake = minio.fresh();
            let machines = [Machine::shop(&minio, &lake), Machine::shop(&minio, &lake)];
            let run = |machine: &Machine| {
                machine.command(&["run"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
            };
            let running = [run(&machines[0]), run(&machines[1])];
            for child in running {
                let done = Done::of(child.wait_with_output().unwrap());
                assert!(matches!(done.code, 0 | 75), "{}\n{}", done.code, done.stderr);
                assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
            }
            machines[round % 2].run(&[]);
            for machine in &machines {
                assert_eq!(machine.rows(SUMS), expected);
                assert_eq!(machine.run(&[])["status"], "nothing_new");
            }
            let releases = machines[0].releases();
            assert_eq!(releases, (1..=releases.len() as u64).collect::<Vec<_>>(), "one chain");
            let loads = machines[1].rows("SELECT source, load FROM system.loads ORDER BY source, load");
            let distinct: BTreeSet<String> = loads.iter().map(Value::to_string).collect();
            assert_eq!(distinct.len(), loads.len(), "a load was recorded twice: {loads:?}");
            no_key_is_a_folder(&minio.keys(&lake));
        });
    }
}

#[test]
fn a_project_and_its_files_lie_in_a_bucket() {
    let Some(minio) = minio() else { return };
    let home = minio.fresh();
    let project = format!("{home}/projects/items");
    for (path, text) in [
        (
            "lagar.yaml",
            "name: items\nlake: ../../lake\nsources:\n  items:\n    type: file\n    url: data/*.csv\n",
        ),
        ("data/1.csv", "id,price\n1,2.5\n2,4.5\n"),
        ("trusted/items.sql", "-- Items.\n/*---\nkey: [id]\n---*/\nSELECT id, price FROM raw.items\n"),
        (
            "tests/items.yaml",
            "model: trusted.items\ntests:\n  one:\n    given: {raw.items: [{id: 1, price: 2}]}\n    expect: [{id: 1, price: 2}]\n",
        ),
    ] {
        minio.put(&format!("{project}/{path}"), text);
    }
    let machine = Machine::new(Place::project(&[]), &home, minio.login());
    let lagar = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lagar"));
        machine.dress(&mut command);
        Done::of(
            command.args(args).env_remove("LAGAR_LAKE").current_dir(machine.home.path()).output().unwrap(),
        )
    };
    lagar(&["run", &project]).says(0, &["raw.items", "trusted.items", "released as 1"]);
    minio.put(&format!("{project}/data/2.csv"), "id,price\n3,1\n");
    lagar(&["run", &project]).says(0, &["released as 2"]);
    let sum = lagar(&[
        "sql",
        "-p",
        &project,
        "SELECT count(*) AS n, sum(price) AS s FROM trusted.items",
        "--format",
        "csv",
    ]);
    assert_eq!(sum.stdout, "n,s\n3,8.0\n", "{}", sum.stderr);
    assert!(
        minio.keys(&home).iter().any(|key| key.starts_with("lake/releases/")),
        "the lake lies where it was set"
    );
    assert_eq!(lagar(&["doctor", &project]).code, 0);
    lagar(&["run", &format!("{home}/projects/item")]).says(2, &["there is no `lagar.yaml` in"]);
}

#[test]
fn sources_in_a_bucket_are_read_by_pattern_and_in_place() {
    let Some(minio) = minio() else { return };
    let data = minio.fresh();
    minio.put(&format!("{data}/events/1.csv"), "id\n1\n2\n");
    minio.put(&format!("{data}/events/2.csv"), "id\n3\n");
    minio.put(&format!("{data}/events/notes.txt"), "not data");
    minio.put(&format!("{data}/big.ndjson"), "{\"id\":10}\n{\"id\":20}\n");
    let yaml = format!(
        "name: reads\nlake: ${{LAGAR_LAKE}}\nsources:\n  events:\n    type: file\n    url: {data}/events/*.csv\n  \
         big:\n    type: file\n    url: {data}/big.ndjson\n    in_place: true\n"
    );
    let model =
        "-- Sum.\nSELECT (SELECT sum(id) FROM raw.events) AS events, (SELECT sum(id) FROM raw.big) AS big\n";
    let place = Place::project(&[("lagar.yaml", &yaml), ("trusted/sums.sql", model)]);
    let machine = Machine::new(place, &minio.fresh(), minio.login());
    machine.run(&[]);
    assert_eq!(machine.rows("SELECT * FROM trusted.sums"), [json!({"events": 6, "big": 30})]);
    let copied = minio.keys(&machine.lake);
    assert!(
        !copied.iter().any(|key| key.starts_with("raw/big/load_date")),
        "in place means not copied: {copied:?}"
    );

    minio.put(&format!("{data}/events/3.csv"), "id\n4\n");
    let report = machine.run(&[]);
    assert_eq!(step(&report, "raw.events")["rows_in"], 1, "only what is new");
    assert_eq!(step(&report, "raw.big")["status"], "nothing_new");
    assert_eq!(machine.rows("SELECT * FROM trusted.sums"), [json!({"events": 10, "big": 30})]);

    minio.put(&format!("{data}/big.ndjson"), "{\"id\":11}\n{\"id\":20}\n");
    machine.lagar(&["sql", "SELECT * FROM raw.big"]).says(75, &["is not the file any more that was loaded"]);
    machine.run(&[]);
    assert_eq!(machine.rows("SELECT big FROM trusted.sums"), [json!({"big": 31})]);
}

/// Everything that hands out credentials on a laptop, in a container and in the cloud.
#[test]
fn every_link_of_the_chain_opens_the_lake() {
    let Some(minio) = minio() else { return };
    let session = assume_role(&minio, None);
    let given = document(&session, &in_seconds(3600.0));
    // STS, SSO, a container's and an instance's endpoint in one.
    let (body, access, login) = (given.clone(), session.clone(), minio.clone());
    let services = serve(move |request, stream| match (request.method.as_str(), request.path.as_str()) {
        ("PUT", "/latest/api/token") => {
            // The token's life comes with it.
            let (token, life) = ("metadata-token", "X-aws-ec2-metadata-token-ttl-seconds: 21600\r\n");
            use std::io::Write;
            write!(
                stream,
                "HTTP/1.1 200 OK\r\n{life}Content-Length: {}\r\nConnection: close\r\n\r\n{token}",
                token.len()
            )
        }
        ("GET", path) if path.starts_with("/latest/") => {
            if request.headers.get("x-aws-ec2-metadata-token").map(String::as_str) != Some("metadata-token") {
                return reply(stream, 401, "text/plain", "");
            }
            match path {
                "/latest/meta-data/iam/security-credentials/" => {
                    reply(stream, 200, "text/plain", "lagar-role")
                }
                "/latest/meta-data/iam/security-credentials/lagar-role" => {
                    reply(stream, 200, "text/plain", &body)
                }
                _ => reply(stream, 404, "text/plain", ""),
            }
        }
        ("GET", "/container") => reply(stream, 200, "application/json", &body),
        ("GET", path) if path.starts_with("/federation/credentials") => {
            let sent = request.headers.get("x-amz-sso_bearer_token").map(String::as_str);
            assert_eq!(sent, Some("cached-sso-token"));
            let role = json!({"roleCredentials": {"accessKeyId": access.key, "secretAccessKey": access.secret,
                "sessionToken": access.token, "expiration": 4_102_444_800_000_u64}});
            reply(stream, 200, "application/json", &role.to_string())
        }
        ("POST", "/") => {
            // Signed with the keys of another profile, or with an identity in place of a signature.
            let form = String::from_utf8_lossy(&request.body).into_owned();
            let action = match request.headers.get("authorization") {
                Some(signed) if form.contains("Action=AssumeRole&") && signed.contains(&login.key) => {
                    "AssumeRole"
                }
                None if form.contains("identity-of-the-pod") => "AssumeRoleWithWebIdentity",
                _ => return reply(stream, 403, "text/plain", ""),
            };
            let Session { key, secret, token } = &access;
            let expires = in_seconds(3600.0);
            let xml = format!(
                "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><AssumedRoleUser>\
                 <AssumedRoleId>A:b</AssumedRoleId><Arn>arn:aws:sts::123456789012:assumed-role/a/b</Arn></AssumedRoleUser>\
                 <Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>\
                 <SessionToken>{token}</SessionToken><Expiration>{expires}</Expiration></Credentials>\
                 </{action}Result></{action}Response>"
            );
            reply(stream, 200, "text/xml", &xml)
        }
        _ => reply(stream, 404, "text/plain", ""),
    });

    let keys = format!("aws_access_key_id = {}\naws_secret_access_key = {}\n", minio.key, minio.secret);
    let config = format!(
        "[default]\nregion = eu-south-2\nendpoint_url = {endpoint}\n\n\
         [profile etl]\nservices = local\n\n[services local]\ns3 =\n  endpoint_url = {endpoint}\n\n\
         [profile role]\nrole_arn = arn:aws:iam::123456789012:role/lagar\nsource_profile = etl\nservices = mixed\n\n\
         [profile process]\nendpoint_url = {endpoint}\ncredential_process = %HOME%/give\n\n\
         [profile sso]\nregion = us-east-1\nsso_start_url = https://example.org/start\nsso_region = us-east-1\n\
         sso_account_id = 123456789012\nsso_role_name = lagar\nservices = mixed\n\n\
         [services mixed]\ns3 =\n  endpoint_url = {endpoint}\nsso =\n  endpoint_url = {services}\nsts =\n  endpoint_url = {services}\n",
        endpoint = minio.endpoint
    );
    let lake = minio.fresh();
    let at_minio = ("AWS_ENDPOINT_URL_S3", minio.endpoint.clone());
    let profile = |name: &str| vec![("AWS_PROFILE", name.to_owned())];
    let cases: Vec<(&str, Vec<(&'static str, String)>)> = vec![
        ("environment variables; region eu-south-2 (profile)", minio.login()),
        ("profile `default`; region eu-south-2 (profile)", vec![]),
        ("profile `etl`; region us-east-1 (default)", profile("etl")),
        ("profile `role` (role)", profile("role")),
        ("profile `process` (credential_process)", profile("process")),
        ("profile `sso` (SSO)", profile("sso")),
        (
            "web identity (role by web identity)",
            vec![
                at_minio.clone(),
                ("AWS_CONFIG_FILE", "/nowhere".into()),
                ("AWS_SHARED_CREDENTIALS_FILE", "/nowhere".into()),
                ("AWS_ENDPOINT_URL_STS", services.clone()),
                ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/lagar".into()),
                ("AWS_WEB_IDENTITY_TOKEN_FILE", "%HOME%/identity".into()),
            ],
        ),
        (
            "container (credentials endpoint)",
            vec![
                at_minio.clone(),
                ("AWS_CONFIG_FILE", "/nowhere".into()),
                ("AWS_SHARED_CREDENTIALS_FILE", "/nowhere".into()),
                ("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{services}/container")),
            ],
        ),
        (
            "instance (metadata service)",
            vec![
                at_minio,
                ("AWS_CONFIG_FILE", "/nowhere".into()),
                ("AWS_SHARED_CREDENTIALS_FILE", "/nowhere".into()),
                ("AWS_EC2_METADATA_DISABLED", "false".into()),
                ("AWS_EC2_METADATA_SERVICE_ENDPOINT", services.clone()),
            ],
        ),
    ];
    let place = || Place::project(&[("lagar.yaml", "name: chain\nlake: ${LAGAR_LAKE}\n")]);
    for (expected, env) in cases {
        let mut machine = Machine::new(place(), &lake, env);
        let home = machine.home.path().to_string_lossy().into_owned();
        for (_, value) in &mut machine.env {
            *value = value.replace("%HOME%", &home);
        }
        fs::create_dir_all(machine.home.path().join(".aws/sso/cache")).unwrap();
        fs::write(machine.home.path().join(".aws/config"), config.replace("%HOME%", &home)).unwrap();
        fs::write(machine.home.path().join(".aws/credentials"), format!("[default]\n{keys}\n[etl]\n{keys}"))
            .unwrap();
        let process: Value = serde_json::from_str(&given).unwrap();
        let process = json!({"Version": 1, "AccessKeyId": process["AccessKeyId"], "SecretAccessKey": process["SecretAccessKey"],
            "SessionToken": process["Token"], "Expiration": process["Expiration"]});
        let give = machine.home.path().join("give");
        fs::write(&give, format!("#!/bin/sh\necho '{process}'\n")).unwrap();
        fs::set_permissions(&give, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(machine.home.path().join("identity"), "identity-of-the-pod").unwrap();
        let token = json!({"accessToken": "cached-sso-token", "expiresAt": in_seconds(3600.0), "region": "us-east-1",
            "startUrl": "https://example.org/start"});
        fs::write(machine.home.path().join(".aws/sso/cache").join(SSO_CACHE), token.to_string()).unwrap();

        let done = machine.lagar(&["doctor"]);
        assert_eq!(done.code, 0, "{expected}:\n{}\n{}", done.stdout, done.stderr);
        assert!(done.stdout.contains(expected), "{expected}:\n{}", done.stdout);
        for secret in [&minio.secret, &session.secret, &session.token, &session.key] {
            let printed = format!("{}{}", done.stdout, done.stderr);
            assert!(!printed.contains(&secret[..8]), "{expected}: a secret was printed:\n{printed}");
        }
    }
    assert_eq!(minio.keys(&lake), BTreeSet::new(), "doctor left something behind");
}

#[test]
fn without_credentials_the_chain_is_told() {
    let place = Place::project(&[("lagar.yaml", "name: nobody\nlake: s3://somewhere/lake\n")]);
    let machine = Machine::new(place, "unused", vec![]);
    let expected = [
        "no credentials were found",
        "environment variables (AWS_ACCESS_KEY_ID is not set)",
        "profile `default` (",
        "web identity (",
        "container (",
        "instance (",
        "set AWS_PROFILE",
        "E3011",
    ];
    machine.lagar(&["run"]).says(2, &expected);
    let doctor = machine.lagar(&["doctor"]);
    doctor.says(1, &expected);
    assert!(!doctor.stdout.contains("lake: put"), "everything else would only repeat it: {}", doctor.stdout);
    let half = Machine { env: vec![("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE".into())], ..machine };
    half.lagar(&["run"]).says(1, &["AWS_SECRET_ACCESS_KEY is not set"]);
    let gone =
        Machine { env: vec![("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:9/x".into())], ..half };
    gone.lagar(&["run"]).says(75, &["container", "does not answer"]);
}

/// Sessions that are over after some seconds, and a store that then refuses them.
#[test]
fn credentials_are_renewed_while_a_run_goes_on() {
    let Some(minio) = minio() else { return };
    let claimed = Duration::from_secs(if long() { 60 } else { 3 });
    let short = ShortLived::start(&minio, claimed, claimed + Duration::from_secs(2));
    // Answers that take their time: the run outlasts several sessions.
    let pages = 4;
    let page = claimed.mul_f64(0.8);
    let slow = serve(move |request, stream| {
        thread::sleep(page);
        let number: usize = request.path.rsplit_once("page=").map_or(1, |(_, page)| page.parse().unwrap());
        let body = if number > pages { "[]".to_owned() } else { format!("[{{\"id\":{number}}}]") };
        reply(stream, 200, "application/json", &body)
    });
    let yaml = format!(
        "name: long\nlake: ${{LAGAR_LAKE}}\nsources:\n  slow:\n    type: rest\n    url: {slow}/items\n    \
         timeout: {{read: 120s}}\n    pages: {{type: page, page_param: page, size: 1, size_param: size}}\n"
    );
    let model = "-- Items.\n/*---\nkey: [id]\n---*/\nSELECT id FROM raw.slow\n";
    let mut battery = Battery::new("O4");
    battery.case("cargo test -p lagar-cli --test e2e credentials_are_renewed_while_a_run_goes_on", || {
        let env = vec![
            ("AWS_ENDPOINT_URL_S3", short.gate.clone()),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{}/credentials", short.credentials)),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "let-me-in".to_owned()),
            ("LAGAR_LOG", "trace".to_owned()),
        ];
        let place = Place::project(&[("lagar.yaml", &yaml), ("trusted/items.sql", model)]);
        let machine = Machine::new(place, &minio.fresh(), env);
        let done = machine.lagar(&["run", "--json"]);
        assert_eq!(done.code, 0, "{}", done.stderr);
        let report = done.json();
        for step in report["steps"].as_array().unwrap() {
            assert_eq!(step["status"], "ok", "{step}");
        }
        assert_eq!(step(&report, "trusted.items")["rows_out"], pages as u64);
        assert!(short.tokens().len() > 1, "one session was enough: the run was too short");
        assert_eq!(short.refused(), 0, "a session was used after its time");
        for token in short.tokens() {
            for output in [&done.stdout, &done.stderr] {
                assert!(!output.contains(&token[..8]), "a token was printed");
            }
        }
    });
}

#[test]
fn refusals_are_told_in_words() {
    let Some(minio) = minio() else { return };
    let place = || {
        Place::project(&[
            (
                "lagar.yaml",
                "name: refused\nlake: ${LAGAR_LAKE}\nsources:\n  a:\n    type: file\n    url: a.csv\n",
            ),
            ("a.csv", "id\n1\n"),
        ])
    };
    let with = |lake: &str, env: Vec<(&'static str, String)>| Machine::new(place(), lake, env);
    let told = |machine: &Machine, code: i32, parts: &[&str]| {
        let done = machine.lagar(&["run"]);
        done.says(code, parts);
        assert!(!done.stderr.contains("<Code>") && !done.stderr.contains("<?xml"), "XML in {}", done.stderr);
    };
    let lake = minio.fresh();

    told(&with("s3://no-such-bucket-of-ours/x", minio.login()), 2, &["no such bucket", "NoSuchBucket"]);
    let other = |name: &'static str, value: &str| {
        let mut env = minio.login();
        env.retain(|(known, _)| *known != name);
        env.push((name, value.to_owned()));
        env
    };
    told(
        &with(&lake, other("AWS_ACCESS_KEY_ID", "AKIAWRONG")),
        1,
        &["does not know the access key", "lagar doctor"],
    );
    told(
        &with(&lake, other("AWS_SECRET_ACCESS_KEY", "wrong")),
        1,
        &["the secret key does not belong to the access key"],
    );
    let region = with(&lake, other("AWS_REGION", "eu-west-9"));
    let region = region.lagar(&["run"]);
    assert!(matches!(region.code, 0 | 2), "MinIO either minds the region or does not: {}", region.stderr);

    // May read and list, and not write.
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetObject","s3:ListBucket"],"Resource":["arn:aws:s3:::*"]}]}"#;
    let reader = assume_role(&minio, Some(policy));
    let reads = with(
        &minio.fresh(),
        vec![
            ("AWS_ENDPOINT_URL_S3", minio.endpoint.clone()),
            ("AWS_ACCESS_KEY_ID", reader.key.clone()),
            ("AWS_SECRET_ACCESS_KEY", reader.secret.clone()),
            ("AWS_SESSION_TOKEN", reader.token.clone()),
        ],
    );
    told(&reads, 1, &["access was refused", "AccessDenied"]);
    let doctor = reads.lagar(&["doctor", "--json"]);
    assert_eq!(doctor.code, 1, "{}", doctor.stdout);
    assert_eq!(
        failed(&doctor.json()),
        ["lake: put", "lake: put-if-absent", "lake: upload, given up", "lake: delete"]
    );

    // A session that is over, and a clock that is wrong: answers of S3 that MinIO gives only after a while.
    let upstream = minio.endpoint.trim_start_matches("http://").to_owned();
    let token = reader.token.clone();
    let gate = serve(move |request, stream| match request.headers.get("x-amz-security-token") {
        Some(_) => {
            let body = format!(
                "<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message><Token-0>{token}</Token-0></Error>"
            );
            reply(stream, 400, "application/xml", &body)
        }
        None => forward(request, stream, &upstream),
    });
    let mut over = reads;
    over.env[0].1 = gate;
    told(&over, 1, &["the session of the credentials has expired", "log in again"]);
    let done = over.lagar(&["doctor"]);
    assert!(
        !format!("{}{}", done.stdout, done.stderr).contains(&reader.token[..8]),
        "the answer's token was shown"
    );

    let skewed = serve(|_, stream| {
        let body =
            "<Error><Code>RequestTimeTooSkewed</Code><Message>The difference is too large.</Message></Error>";
        reply(stream, 403, "application/xml", body)
    });
    told(
        &with(
            &lake,
            vec![
                ("AWS_ENDPOINT_URL_S3", skewed),
                ("AWS_ACCESS_KEY_ID", "key".into()),
                ("AWS_SECRET_ACCESS_KEY", "secret".into()),
            ],
        ),
        1,
        &["this machine's clock"],
    );
}

/// What `lagar doctor` found to be ill.
fn failed(report: &Value) -> Vec<&str> {
    let findings = report["findings"].as_array().unwrap().iter();
    findings.filter(|finding| !finding["error"].is_null()).map(|f| f["what"].as_str().unwrap()).collect()
}

/// A source each of the kinds, well and not: one line each, and the exit code.
#[test]
fn doctor_tries_the_sources() {
    let server = http::Server::start();
    server.on("/well", vec![http::json("[]")]).on("/ill", vec![http::status(503)]);
    let yaml = |ill: &str| {
        format!(
            "name: sources\nsources:\n  saved:\n    type: rest\n    url: file:answers\n  api:\n    type: rest\n    \
             url: {url}/well?token=canary-of-the-query\n  table:\n    type: sql\n    url: sqlite:data.db\n    table: t\n  \
             files:\n    type: file\n    url: '*.csv'\n{ill}",
            url = server.url
        )
    };
    let sqlite = root().join("data-samples/shop/shop.db");
    let well = Place::project(&[
        ("lagar.yaml", &yaml("")),
        ("answers.json", "[]"),
        ("a.csv", "id\n1\n"),
        ("b.csv", "id\n2\n"),
    ]);
    fs::copy(&sqlite, well.project.join("data.db")).unwrap();
    let done = well.lagar(&["doctor"]);
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    for line in
        ["source saved", "source api", "source table", "*.csv: 2 files, 10 bytes", "lake: put-if-absent"]
    {
        assert!(done.stdout.contains(line), "{line}: {}", done.stdout);
    }
    assert!(!done.stdout.contains("credentials"), "a folder needs none: {}", done.stdout);
    let left: Vec<_> = well.lake_files().into_keys().collect();
    assert!(left.is_empty() && !well.lake().join("_lagar_doctor").exists(), "doctor left {left:?}");

    let ill = "  gone:\n    type: file\n    url: gone.csv\n  down:\n    type: rest\n    url: http://127.0.0.1:9/x\n  ".to_owned()
        + &format!("busy:\n    type: rest\n    url: {}/ill\n  no_db:\n    type: sql\n    url: sqlite:gone.db\n    table: t\n", server.url);
    let ill = Place::project(&[("lagar.yaml", &yaml(&ill)), ("answers.json", "[]"), ("a.csv", "id\n1\n")]);
    fs::copy(&sqlite, ill.project.join("data.db")).unwrap();
    let done = ill.lagar(&["doctor", "--json"]);
    assert_eq!(done.code, 1, "{}{}", done.stdout, done.stderr);
    let report = done.json();
    assert_eq!(report["status"], "failed");
    assert_eq!(failed(&report), ["source busy", "source down", "source gone", "source no_db"]);
    assert!(!format!("{}{}", done.stdout, done.stderr).contains("canary"), "{}", done.stdout);
    // Nothing secret was sent either.
    assert!(server.requests().iter().all(|path| !path.contains("canary")), "{:?}", server.requests());
}
