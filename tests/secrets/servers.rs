//! Servers that tell back what they were told.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
};

/// A request as it came.
pub struct Request {
    /// `/items?page=2`
    pub target: String,
    /// All lines up to the body.
    pub head: String,
    pub body: String,
}

impl Request {
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap()
    }

    /// All of it, as a careless server puts it into the page that says what went wrong.
    pub fn echo(&self) -> String {
        format!("you sent: {} {}", self.head.replace("\r\n", " | "), self.body)
    }
}

/// A whole answer; the connection is closed after it.
pub fn answer(status: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n", body.len());
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    (text + "\r\n" + body).into_bytes()
}

/// An HTTP server on loopback that lives as long as the test's process; its address.
pub fn http(respond: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) -> String {
    let respond = Arc::new(respond);
    let address = tcp(move |mut stream| {
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            // Bytes, not text: what begins a TLS connection is no text.
            let mut line = Vec::new();
            if reader.read_until(b'\n', &mut line).ok()? == 0 {
                return None;
            }
            head.push_str(&String::from_utf8_lossy(&line));
        }
        let header = |line: &str| {
            line.to_ascii_lowercase().strip_prefix("content-length:").map(|n| n.trim().parse().unwrap())
        };
        let length: usize = head.lines().find_map(header).unwrap_or(0);
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let target = head.split_whitespace().nth(1)?.to_owned();
        let body = String::from_utf8_lossy(&body).into_owned();
        stream.write_all(&respond(&Request { target, head, body })).ok()
    });
    format!("http://{address}")
}

/// A server for `talk`, one thread a connection; `127.0.0.1:PORT`.
fn tcp(talk: impl Fn(TcpStream) -> Option<()> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let talk = Arc::new(talk);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let talk = talk.clone();
            thread::spawn(move || talk(stream));
        }
    });
    address
}

/// As much of PostgreSQL as it takes to ask for the password in clear and to refuse with it:
/// `code` is the SQLSTATE, the password is put into the message.
pub fn postgres(code: &'static str) -> String {
    tcp(move |mut stream| {
        let startup = loop {
            let body = packet(&mut stream)?;
            // A request for TLS (80877103) is answered with no.
            if body.starts_with(&80_877_103u32.to_be_bytes()) {
                stream.write_all(b"N").ok()?;
            } else {
                break body;
            }
        };
        assert!(startup.starts_with(&196_608u32.to_be_bytes()), "protocol 3.0");
        stream.write_all(b"R\0\0\0\x08\0\0\0\x03").ok()?;
        let mut kind = [0];
        stream.read_exact(&mut kind).ok()?;
        let password = packet(&mut stream)?;
        let password = String::from_utf8_lossy(&password).trim_end_matches('\0').to_owned();
        let fields =
            format!("SFATAL\0VFATAL\0C{code}\0Myou sent the password {password}, as \"{password}\"\0\0");
        let mut error = vec![b'E'];
        error.extend((fields.len() as u32 + 4).to_be_bytes());
        error.extend(fields.as_bytes());
        stream.write_all(&error).ok()
    })
}

/// The rest of a message of PostgreSQL, after its length.
fn packet(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut body = vec![0; u32::from_be_bytes(length).checked_sub(4)? as usize];
    stream.read_exact(&mut body).ok()?;
    Some(body)
}

/// As much of MySQL as it takes to refuse every connection with error `number` and `message`.
pub fn mysql(number: u16, message: String) -> String {
    tcp(move |mut stream| {
        let mut body = vec![0xff];
        body.extend(number.to_le_bytes());
        body.extend(b"#HY000");
        body.extend(message.as_bytes());
        let length = (body.len() as u32).to_le_bytes();
        let packet = [&length[..3], &[0], &body].concat();
        stream.write_all(&packet).ok()?;
        // Closing at once would take the answer away from who has not read it yet.
        let _ = stream.read(&mut [0; 64]);
        Some(())
    })
}
