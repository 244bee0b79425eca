//! Where credentials come from, as a machine in a cloud has it: endpoints of ours that hand them out.

use std::{
    collections::HashMap,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    process::Command,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant, SystemTime},
};

use super::minio::Minio;

/// Keys for a while.
#[derive(Clone)]
pub struct Session {
    pub key: String,
    pub secret: String,
    pub token: String,
}

/// Asks MinIO for a session of its login, which may do what `policy` allows; everything without one.
pub fn assume_role(minio: &Minio, policy: Option<&str>) -> Session {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--max-time", "20", "--aws-sigv4", "aws:amz:us-east-1:sts"])
        .args(["--user", &format!("{}:{}", minio.key, minio.secret)])
        .args(["--data", "Action=AssumeRole&Version=2011-06-15&DurationSeconds=900"]);
    if let Some(policy) = policy {
        curl.args(["--data-urlencode", &format!("Policy={policy}")]);
    }
    let output = curl.arg(format!("{}/", minio.endpoint)).output().unwrap();
    let xml = String::from_utf8(output.stdout).unwrap();
    let element = |name: &str| {
        let text =
            xml.split_once(&format!("<{name}>")).and_then(|(_, rest)| rest.split_once(&format!("</{name}>")));
        text.unwrap_or_else(|| panic!("no {name} in {xml}")).0.to_owned()
    };
    Session {
        key: element("AccessKeyId"),
        secret: element("SecretAccessKey"),
        token: element("SessionToken"),
    }
}

/// One request as it came.
pub struct Request {
    pub method: String,
    pub path: String,
    /// Names in small letters.
    pub headers: HashMap<String, String>,
    head: String,
    pub body: Vec<u8>,
}

/// Serves each request that comes to a loopback port with `answer`; the address.
pub fn serve(answer: impl Fn(&Request, &mut TcpStream) -> io::Result<()> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = answer.clone();
            thread::spawn(move || {
                let mut stream = stream;
                if let Some(request) = read_request(&stream) {
                    let _ = answer(&request, &mut stream);
                }
                let _ = stream.shutdown(Shutdown::Write);
            });
        }
    });
    url
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let mut words = head.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let headers: HashMap<String, String> = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, path, headers, head, body })
}

/// An answer, and nothing more on this connection.
pub fn reply(stream: &mut TcpStream, status: u16, kind: &str, body: &str) -> io::Result<()> {
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

/// The time in so many seconds, as these endpoints write it.
pub fn in_seconds(seconds: f64) -> String {
    let time = SystemTime::now() + Duration::from_secs_f64(seconds);
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let (days, left) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    // The civil calendar, counted from 1 March of the year 0.
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let millis = since.subsec_millis();
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{millis:03}Z",
        left / 3600,
        left / 60 % 60,
        left % 60
    )
}

/// The credentials document of containers and instances.
pub fn document(session: &Session, expires: &str) -> String {
    serde_json::json!({
        "Code": "Success", "LastUpdated": in_seconds(0.0), "Type": "AWS-HMAC", "RoleArn": "arn:aws:iam::1:role/lagar",
        "AccessKeyId": session.key, "SecretAccessKey": session.secret, "Token": session.token, "Expiration": expires,
    })
    .to_string()
}

/// A credentials endpoint as containers have it, whose sessions live for a given time, and a gate in front of
/// MinIO that refuses a session when its time is over.
pub struct ShortLived {
    pub credentials: String,
    pub gate: String,
    given: Arc<Mutex<HashMap<String, Instant>>>,
    refused: Arc<Mutex<u64>>,
}

impl ShortLived {
    /// What the endpoint calls the end is `claimed` from then on; the gate closes `enforced` after it was given.
    pub fn start(minio: &Minio, claimed: Duration, enforced: Duration) -> Self {
        let given: Arc<Mutex<HashMap<String, Instant>>> = Arc::default();
        let refused: Arc<Mutex<u64>> = Arc::default();
        let (at, known) = (minio.clone(), given.clone());
        let credentials = serve(move |request, stream| {
            if request.headers.get("authorization").map(String::as_str) != Some("let-me-in") {
                return reply(stream, 401, "text/plain", "who is there?");
            }
            let session = assume_role(&at, None);
            known.lock().unwrap().insert(session.token.clone(), Instant::now());
            reply(stream, 200, "application/json", &document(&session, &in_seconds(claimed.as_secs_f64())))
        });
        let upstream = minio.endpoint.trim_start_matches("http://").to_owned();
        let (known, closed) = (given.clone(), refused.clone());
        let gate = serve(move |request, stream| {
            let token = request.headers.get("x-amz-security-token");
            let since = token.and_then(|token| known.lock().unwrap().get(token).copied());
            if since.is_none_or(|since| since.elapsed() > enforced) {
                *closed.lock().unwrap() += 1;
                let token = token.map_or("", String::as_str);
                let body = format!(
                    "<?xml version=\"1.0\"?><Error><Code>ExpiredToken</Code><Message>The provided token has expired.\
                     </Message><Token-0>{token}</Token-0></Error>"
                );
                return reply(stream, 400, "application/xml", &body);
            }
            forward(request, stream, &upstream)
        });
        Self { credentials, gate, given, refused }
    }

    pub fn tokens(&self) -> Vec<String> {
        self.given.lock().unwrap().keys().cloned().collect()
    }

    /// How many requests came with a session that was over.
    pub fn refused(&self) -> u64 {
        *self.refused.lock().unwrap()
    }
}

/// Hands `request` on as it is, apart from the connection, which ends with the answer.
pub fn forward(request: &Request, stream: &mut TcpStream, upstream: &str) -> io::Result<()> {
    let mut server = TcpStream::connect(upstream)?;
    for line in request.head.lines().filter(|line| !line.is_empty()) {
        if !line.to_lowercase().starts_with("connection:") {
            write!(server, "{line}\r\n")?;
        }
    }
    server.write_all(b"Connection: close\r\n\r\n")?;
    server.write_all(&request.body)?;
    io::copy(&mut server, stream)?;
    Ok(())
}
