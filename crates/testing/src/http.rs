//! A web server whose every byte is written by the test, so that it can be as hostile as real ones.
//!
//! It runs on threads of its own, so that both async tests and tests of the binary can use it, and lives
//! as long as the test's process.

mod faults;
mod h2;
mod tls;

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

pub use faults::FaultHttp;
pub use h2::Http2;
pub use tls::{Authority, Certificate};

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// Path and query, as sent.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// When it was complete.
    pub at: Instant,
}

impl Request {
    /// The value of a header, whose name is given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The target without its query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The value of a query parameter, as sent.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let (_, query) = self.target.split_once('?')?;
        query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }
}

/// Both ways of a connection, plain or TLS.
pub trait Wire: Read + Write {}

impl<T: Read + Write> Wire for T {}

/// What becomes of the connection after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    Close,
    KeepAlive,
}

type Writing = dyn Fn(&mut dyn Wire) -> io::Result<Then> + Send + Sync;

/// What is done for one request.
#[derive(Clone)]
pub struct Reply(Arc<Writing>);

impl Reply {
    /// Whatever `writing` does. Its errors end the connection: a client may have heard enough.
    pub fn writing(writing: impl Fn(&mut dyn Wire) -> io::Result<Then> + Send + Sync + 'static) -> Self {
        Self(Arc::new(writing))
    }

    /// These bytes, then the end of the connection.
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::writing(move |wire| wire.write_all(&bytes).map(|()| Then::Close))
    }

    /// Nothing, until the client leaves.
    pub fn silence() -> Self {
        Self::then_silence(Vec::new())
    }

    /// These bytes and no more, until the client leaves.
    pub fn then_silence(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::writing(move |wire| {
            wire.write_all(&bytes)?;
            wire.flush()?;
            io::copy(wire, &mut io::sink()).map(|_| Then::Close)
        })
    }

    /// `start`, then `piece` again and again with a pause before each, until the client leaves.
    pub fn endless(start: impl Into<Vec<u8>>, piece: impl Into<Vec<u8>>, pause: Duration) -> Self {
        let (start, piece) = (start.into(), piece.into());
        Self::writing(move |wire| {
            wire.write_all(&start)?;
            loop {
                wire.flush()?;
                thread::sleep(pause);
                wire.write_all(&piece)?;
            }
        })
    }

    /// The end of the connection without a byte.
    pub fn hang_up() -> Self {
        Self::bytes(Vec::new())
    }

    /// The same answer after a pause.
    fn late(self, pause: Duration) -> Self {
        Self::writing(move |wire| {
            thread::sleep(pause);
            (self.0)(wire)
        })
    }
}

/// The first lines of an answer, its empty line included.
pub fn head(status: u16, headers: &[(&str, &str)]) -> String {
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("HTTP/1.1 {status} Some Reason\r\n{lines}\r\n")
}

/// A complete answer; the connection ends after it.
pub fn reply(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Reply {
    Reply::bytes(answer(status, headers, body.as_ref(), &[("Connection", "close")]))
}

/// A complete answer; the connection stays for the next request.
pub fn reply_and_stay(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Reply {
    let bytes = answer(status, headers, body.as_ref(), &[]);
    Reply::writing(move |wire| wire.write_all(&bytes).map(|()| Then::KeepAlive))
}

/// JSON with status 200.
pub fn ok(body: impl AsRef<[u8]>) -> Reply {
    reply(200, &[("Content-Type", "application/json")], body)
}

fn answer(status: u16, headers: &[(&str, &str)], body: &[u8], more: &[(&str, &str)]) -> Vec<u8> {
    let length = body.len().to_string();
    let mut all = [more, headers].concat();
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) && status != 304 {
        all.push(("Content-Length", &length));
    }
    [head(status, &all).as_bytes(), body].concat()
}

/// A server on a loopback port.
#[derive(Clone)]
pub struct Server {
    /// Without a path or a slash at its end.
    pub url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

/// What a connection is served with: its number, from 0, and the connection.
type Serving = dyn Fn(usize, TcpStream) -> io::Result<()> + Send + Sync;

impl Server {
    /// Answers the n-th request (from 0) with `answer(n, request)`.
    pub fn new(answer: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::at("127.0.0.1:0", answer).unwrap_or_else(|error| panic!("no port on loopback: {error}"))
    }

    /// The n-th request gets the n-th reply, the last one for ever.
    pub fn script(replies: Vec<Reply>) -> Self {
        Self::new(move |n, _| replies[n.min(replies.len() - 1)].clone())
    }

    /// As [`Server::new`], on an address of one's own, such as `[::1]:0`.
    pub fn at(
        address: &str,
        answer: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        let serve = move |_, mut stream: TcpStream| serve(&mut stream, &seen, &answer);
        Ok(Self { url: listen(address, "http", serve)?, requests })
    }

    /// As [`Server::new`] behind TLS, with this certificate.
    pub fn tls(
        certificate: &Certificate,
        answer: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, config) = (requests.clone(), certificate.config(&[]));
        let serve = move |_, stream: TcpStream| serve(&mut tls::accept(&config, stream)?, &seen, &answer);
        Self { url: listen_on_loopback("https", serve), requests }
    }

    /// Speaks HTTP/2 (over TLS, as clients want it): the n-th connection, from 0, is left to `serve`.
    pub fn http2(
        certificate: &Certificate,
        serve: impl Fn(usize, &mut Http2<'_>) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let config = certificate.config(&[b"h2"]);
        let serve = move |n, stream: TcpStream| {
            let mut wire = tls::accept(&config, stream)?;
            let mut connection = Http2::begin(&mut wire)?;
            serve(n, &mut connection)
        };
        Self { url: listen_on_loopback("https", serve), requests: Arc::default() }
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.requests).clone()
    }

    /// Their paths and queries.
    pub fn targets(&self) -> Vec<String> {
        self.requests().into_iter().map(|request| request.target).collect()
    }
}

fn listen_on_loopback(
    scheme: &str,
    serve: impl Fn(usize, TcpStream) -> io::Result<()> + Send + Sync + 'static,
) -> String {
    listen("127.0.0.1:0", scheme, serve).unwrap_or_else(|error| panic!("no port on loopback: {error}"))
}

/// Serves each connection on a thread of its own; the address to ask.
fn listen(
    address: &str,
    scheme: &str,
    serve: impl Fn(usize, TcpStream) -> io::Result<()> + Send + Sync + 'static,
) -> io::Result<String> {
    let listener = TcpListener::bind(address)?;
    let url = format!("{scheme}://{}", listener.local_addr()?);
    let serve: Arc<Serving> = Arc::new(serve);
    thread::spawn(move || {
        for (n, stream) in listener.incoming().flatten().enumerate() {
            let serve = serve.clone();
            // What a client does to a connection is its own affair.
            thread::spawn(move || drop(serve(n, stream)));
        }
    });
    Ok(url)
}

fn serve(
    wire: &mut dyn Wire,
    seen: &Mutex<Vec<Request>>,
    answer: &dyn Fn(usize, &Request) -> Reply,
) -> io::Result<()> {
    while let Some(request) = read_request(wire)? {
        let n = {
            let mut seen = lock(seen);
            seen.push(request.clone());
            seen.len() - 1
        };
        let then = (answer(n, &request).0)(wire)?;
        wire.flush()?;
        if then == Then::Close {
            break;
        }
    }
    Ok(())
}

/// `None` when the client has left. A client waits for the answer before it asks again, so nothing
/// behind the request can be lost in the buffer.
fn read_request(wire: &mut dyn Wire) -> io::Result<Option<Request>> {
    let mut reader = BufReader::new(wire);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(None) };
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.and_then(|(_, n)| n.parse().ok()).unwrap_or(0)];
    reader.read_exact(&mut body)?;
    Ok(Some(Request {
        method,
        target,
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
        at: Instant::now(),
    }))
}

/// A test that panicked while it held the lock has failed already.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
