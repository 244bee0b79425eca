//! A small HTTP server whose answers are written by the test, byte by byte where it must be.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// What is sent for one request.
#[derive(Clone)]
pub enum Answer {
    /// Status, headers, body; `Content-Length` is added.
    Whole(u16, Vec<(String, String)>, Vec<u8>),
    /// Exactly these bytes; then the connection is closed.
    Bytes(Vec<u8>),
}

impl Answer {
    pub fn json(body: impl Into<Vec<u8>>) -> Self {
        Answer::Whole(200, vec![("Content-Type".into(), "application/json".into())], body.into())
    }

    pub fn status(status: u16) -> Self {
        Answer::Whole(status, vec![], format!("status {status}").into_bytes())
    }
}

#[derive(Default)]
struct State {
    /// The answers of a path in turn; the last one stays.
    answers: HashMap<String, Vec<Answer>>,
    requests: Vec<String>,
}

/// A server on a loopback port; it lives as long as the test's process.
#[derive(Clone)]
pub struct Server {
    pub url: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let server = Self { url, state };
        let serving = server.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = serving.clone();
                thread::spawn(move || serving.serve(stream));
            }
        });
        server
    }

    /// Sets the answers of `path` (without its query).
    pub fn on(&self, path: &str, answers: Vec<Answer>) -> &Self {
        self.state.lock().unwrap().answers.insert(path.to_owned(), answers);
        self
    }

    /// The paths asked for so far.
    pub fn requests(&self) -> Vec<String> {
        self.state.lock().unwrap().requests.clone()
    }

    fn serve(&self, stream: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let mut stream = stream;
        loop {
            let mut first = String::new();
            if reader.read_line(&mut first).ok()? == 0 {
                return None;
            }
            let target = first.split_whitespace().nth(1)?.to_owned();
            loop {
                let mut header = String::new();
                reader.read_line(&mut header).ok()?;
                if header.trim().is_empty() {
                    break;
                }
            }
            let answer = {
                let mut state = self.state.lock().unwrap();
                state.requests.push(target.clone());
                let path = target.split('?').next()?.to_owned();
                match state.answers.get_mut(&path) {
                    Some(answers) if answers.len() > 1 => answers.remove(0),
                    Some(answers) => answers.first().cloned()?,
                    None => Answer::status(404),
                }
            };
            match answer {
                Answer::Bytes(bytes) => {
                    let _ = stream.write_all(&bytes);
                    return None;
                }
                Answer::Whole(status, headers, body) => {
                    let mut head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n", body.len());
                    for (name, value) in headers {
                        head.push_str(&format!("{name}: {value}\r\n"));
                    }
                    head.push_str("\r\n");
                    stream.write_all(head.as_bytes()).ok()?;
                    stream.write_all(&body).ok()?;
                }
            }
        }
    }
}
