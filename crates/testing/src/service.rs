//! A server of `tests/services` for one test alone, which may kill it.

use std::{
    env, fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
};

/// A throw-away server on loopback; it ends when this is dropped.
#[derive(Debug)]
pub struct Service {
    script: PathBuf,
    state: PathBuf,
    variables: Vec<(String, String)>,
    environment: Vec<(String, String)>,
}

impl Service {
    /// Starts `tests/services/NAME` (which may install it) with data and a port of its own. `settings` are
    /// environment variables of the script.
    ///
    /// # Panics
    /// If the server does not start: what its script said is in the message.
    pub fn start(name: &str, settings: &[(&str, &str)]) -> Self {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let state = env::temp_dir().join(format!("lagar-service-{}-{number}", process::id()));
        let mut environment = vec![
            ("LAGAR_SERVICES".to_owned(), state.display().to_string()),
            (format!("LAGAR_{}_PORT", name.to_uppercase()), free_port().to_string()),
        ];
        environment.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let mut service = Self {
            script: root.join("tests/services").join(name),
            state,
            variables: Vec::new(),
            environment,
        };
        let lines = service.ask("start");
        service.variables = lines
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        service
    }

    /// What `start` printed behind `NAME=`.
    ///
    /// # Panics
    /// If there is no such line.
    pub fn variable(&self, name: &str) -> &str {
        match self.variables.iter().find(|(known, _)| known == name) {
            Some((_, value)) => value,
            None => panic!("{} prints no {name}", self.script.display()),
        }
    }

    /// SIGKILL to the server and its children; the data stays.
    pub fn kill(&self) {
        self.ask("kill");
    }

    /// Starts the server again with the data that it has, and waits until it answers.
    pub fn restart(&self) {
        self.ask("restart");
    }

    fn ask(&self, verb: &str) -> String {
        let mut command = Command::new(&self.script);
        let output = command.arg(verb).envs(self.environment.iter().cloned()).output();
        let output = output.unwrap_or_else(|error| panic!("{}: {error}", self.script.display()));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} {verb}: {said}", self.script.display());
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let stopped = Command::new(&self.script).arg("stop").envs(self.environment.iter().cloned()).output();
        if !stopped.is_ok_and(|output| output.status.success()) {
            eprintln!("{} stop: failed, its files are in {}", self.script.display(), self.state.display());
        }
        let _ = fs::remove_dir_all(&self.state);
    }
}

/// A port that nobody listens on at this moment.
///
/// # Panics
/// If loopback has none.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    match listener {
        Ok(address) => address.port(),
        Err(error) => panic!("no port is free: {error}"),
    }
}
