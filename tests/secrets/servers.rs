//! Servers that tell back what they were told.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
};

use lagar_testing::http::{Reply, Request, Server};

use super::hunt::in_url;

/// All of a request, as a careless server puts it into the page that says what went wrong.
pub fn echo(request: &Request) -> String {
    let Request { method, target, headers, body, .. } = request;
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value} | ")).collect();
    format!("you sent: {method} {target} HTTP/1.1 | {headers}{body}")
}

/// An HTTP server on loopback that lives as long as the test's process; its address.
pub fn http(respond: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> String {
    Server::new(move |_, request| respond(request)).url
}

/// `url` with a user and this password in it.
pub fn with_login(url: &str, password: &str) -> String {
    url.replace("://", &format!("://me:{}@", in_url(password)))
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
