//! A wire between a client and a server that can be cut in the middle of an answer.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

/// What happens to an answer of the server once so many bytes have passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// Nothing.
    Never,
    /// No byte more, until [`Proxy::heal`]: the connection stands, as when a machine froze.
    Stall,
    /// The connection is closed on both sides.
    Cut,
}

/// Passes every connection on to one server, until the first has carried `after` bytes of answers.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    how: Break,
    left: u64,
    reached: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts `bytes` of an answer; false if they must not pass any more.
    fn passes(&self, bytes: u64) -> bool {
        let mut state = self.lock();
        state.left = state.left.saturating_sub(bytes);
        if state.left == 0 && state.how != Break::Never {
            state.reached = true;
            self.changed.notify_all();
        }
        while state.left == 0 && state.how == Break::Stall {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        !(state.left == 0 && state.how == Break::Cut)
    }
}

impl Proxy {
    /// In front of `server` (`host:port`).
    ///
    /// # Panics
    /// If no port of loopback can be had.
    pub fn start(server: &str, after: u64, how: Break) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0");
        let listener = listener.unwrap_or_else(|error| panic!("no port for the proxy: {error}"));
        let port = listener.local_addr().map_or(0, |address| address.port());
        let state = Mutex::new(State { how, left: after, reached: false });
        let shared = Arc::new(Shared { state, changed: Condvar::new() });
        let (server, of_all) = (server.to_owned(), shared.clone());
        // It ends with the test: nobody waits for one more connection.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A server that is down closes what its client has opened.
                let Ok(server) = TcpStream::connect(&server) else { continue };
                join(client, server, &of_all);
            }
        });
        Self { port, shared }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Waits until the answer has come so far.
    pub fn wait_until_reached(&self) {
        let mut state = self.shared.lock();
        while !state.reached {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// From now on everything passes, what was held back included.
    pub fn heal(&self) {
        self.shared.lock().how = Break::Never;
        self.shared.changed.notify_all();
    }
}

fn join(client: TcpStream, server: TcpStream, shared: &Arc<Shared>) {
    let (Ok(client_in), Ok(server_in)) = (client.try_clone(), server.try_clone()) else { return };
    thread::spawn(move || pass(client_in, server_in, |_| true));
    let shared = shared.clone();
    thread::spawn(move || pass(server, client, |bytes| shared.passes(bytes)));
}

fn pass(mut from: TcpStream, mut to: TcpStream, passes: impl Fn(u64) -> bool) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(bytes @ 1..) = from.read(&mut buffer) {
        if !passes(bytes as u64) || to.write_all(&buffer[..bytes]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
