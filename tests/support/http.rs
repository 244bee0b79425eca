//! A server of `lagar_testing::http` whose answers lie at paths, and can be exchanged while it runs.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    sync::{Arc, Mutex},
};

pub use lagar_testing::http::Reply;
use lagar_testing::http::{self, reply_and_stay};

/// JSON with status 200.
pub fn json(body: impl AsRef<[u8]>) -> Reply {
    reply_and_stay(200, &[("Content-Type", "application/json")], body)
}

/// This status, and a word about it.
pub fn status(status: u16) -> Reply {
    reply_and_stay(status, &[], format!("status {status}"))
}

pub struct Server {
    pub url: String,
    server: http::Server,
    /// The answers of a path in turn; the last one stays.
    answers: Arc<Mutex<HashMap<String, Vec<Reply>>>>,
}

impl Server {
    pub fn start() -> Self {
        let answers: Arc<Mutex<HashMap<String, Vec<Reply>>>> = Arc::default();
        let known = answers.clone();
        let server =
            http::Server::new(move |_, request| match known.lock().unwrap().get_mut(request.path()) {
                Some(answers) if answers.len() > 1 => answers.remove(0),
                Some(answers) => answers[0].clone(),
                None => status(404),
            });
        Self { url: server.url.clone(), server, answers }
    }

    /// Sets the answers of `path` (without its query).
    pub fn on(&self, path: &str, answers: Vec<Reply>) -> &Self {
        self.answers.lock().unwrap().insert(path.to_owned(), answers);
        self
    }

    /// The paths and queries asked for so far.
    pub fn requests(&self) -> Vec<String> {
        self.server.targets()
    }
}

/// The body of what is at `url`, which is asked without anything that Lagar does.
pub fn get(url: &str) -> String {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut wire = TcpStream::connect(host).unwrap();
    write!(wire, "GET /{path} HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
    let mut reader = BufReader::new(wire);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().unwrap()
            }
            Some(_) => {}
            None if line.trim_end().is_empty() => break,
            None => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    String::from_utf8(body).unwrap()
}
