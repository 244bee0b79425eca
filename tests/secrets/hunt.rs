//! Secrets that are known again wherever they come out, and the search for them.

use std::{collections::BTreeSet, fs};

use crate::support::{Done, Place, files_below, running::watched};

/// A secret like no other text: its first eight characters alone are looked for. It has what must be
/// written differently in a URL.
pub fn canary(number: usize) -> String {
    format!("Zq{number:02}vK8w+Pd/7R=m2Tn")
}

/// `text` as it must stand in the user part or the query of a URL.
pub fn in_url(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits =
            group.iter().enumerate().fold(0u32, |bits, (at, byte)| bits | u32::from(*byte) << (16 - 8 * at));
        for at in 0..4 {
            let digit = (bits >> (18 - 6 * at)) & 63;
            text.push(if at <= group.len() { char::from(ALPHABET[digit as usize]) } else { '=' });
        }
    }
    text
}

/// The part of the base64 of `secret` that is the same whatever stands around it, for each of the three
/// places where it can begin.
fn base64_cores(secret: &str) -> Vec<String> {
    (0..3)
        .map(|before| {
            let bytes = [vec![0; before], secret.as_bytes().to_vec()].concat();
            let first = (before * 8).div_ceil(6);
            let last = bytes.len() * 8 / 6;
            base64(&bytes)[first..last].to_owned()
        })
        .collect()
}

/// Every spelling in which `secret` is looked for, with what it is called.
fn spellings(secret: &str) -> BTreeSet<(String, &'static str)> {
    let start: String = secret.chars().take(8).collect();
    let mut spellings = BTreeSet::from([
        (secret.to_owned(), "plain"),
        (start, "its first 8 characters"),
        (in_url(secret), "URL-encoded"),
        (in_url(secret).to_lowercase(), "URL-encoded in small letters"),
    ]);
    for core in base64_cores(secret) {
        spellings.insert((core.replace('+', "-").replace('/', "_"), "base64 for URLs"));
        spellings.insert((core, "base64"));
    }
    spellings
}

/// Whether `text` holds the secret, and how it is spelt there.
pub fn found(text: &[u8], secret: &str) -> Option<&'static str> {
    let text = String::from_utf8_lossy(text);
    spellings(secret).into_iter().find(|(spelling, _)| text.contains(spelling.as_str())).map(|(_, how)| how)
}

/// A project whose every run happens in its own home, with its own environment, at the highest log level.
pub struct Scene {
    pub place: Place,
    env: Vec<(String, String)>,
    secrets: Vec<String>,
    outputs: Vec<(String, String)>,
}

impl Scene {
    pub fn new(place: Place) -> Self {
        for folder in ["home", "temporary"] {
            fs::create_dir(place.dir.path().join(folder)).unwrap();
        }
        Self { place, env: Vec::new(), secrets: Vec::new(), outputs: Vec::new() }
    }

    /// A secret in an environment variable.
    pub fn secret(&mut self, variable: &str, secret: &str) -> &mut Self {
        self.env(variable, secret).hidden(secret)
    }

    /// A secret that is somewhere else: in a file, or sent by a server.
    pub fn hidden(&mut self, secret: &str) -> &mut Self {
        self.secrets.push(secret.to_owned());
        self
    }

    pub fn env(&mut self, variable: &str, value: &str) -> &mut Self {
        self.env.push((variable.to_owned(), value.to_owned()));
        self
    }

    /// Runs `lagar`; while it runs, the command lines of its children are read again and again.
    pub fn lagar(&mut self, args: &[&str]) -> Done {
        let folder = self.place.dir.path();
        let mut command = self.place.command(args);
        command.env("LAGAR_LOG", "trace").env("RUST_LOG", "trace").env("RUST_BACKTRACE", "full");
        command.env("HOME", folder.join("home")).env("TMPDIR", folder.join("temporary"));
        for proxy in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy"] {
            command.env_remove(proxy);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        let mut lines = BTreeSet::new();
        let output = watched(&mut command, folder, |process| command_lines(process, &mut lines));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().unwrap_or(-1);
        let done = Done { code, stdout: text(&output.stdout), stderr: text(&output.stderr) };
        let lines: Vec<String> = lines.into_iter().collect();
        let what = args.join(" ");
        self.outputs.push((format!("stdout of `lagar {what}`"), done.stdout.clone()));
        self.outputs.push((format!("stderr of `lagar {what}`"), done.stderr.clone()));
        self.outputs.push((format!("a command line of `lagar {what}`"), lines.join("\n")));
        done
    }

    /// Every command that shows something of the project and its runs.
    pub fn look_around(&mut self) {
        for args in [
            &["config", "show", "--origin"][..],
            &["plan", "--log-format", "json"],
            &["doctor", "--json"],
            &["ls"],
            &["runs", "show", "--json"],
            &["sql", "SELECT * FROM system.steps", "--format", "json"],
            &["sql", "SELECT * FROM system.loads", "--format", "json"],
            &["sql", "SELECT * FROM quarantine.items", "--format", "json"],
        ] {
            self.lagar(args);
        }
    }

    /// Fails if one of the secrets is in an output, or in any file that was written: the lake with its
    /// manifests and quarantine, the history, what is left of scratch folders, the home, temporary files.
    #[track_caller]
    pub fn nothing_is_told(&self) {
        let mut texts: Vec<(String, Vec<u8>)> =
            self.outputs.iter().map(|(name, text)| (name.clone(), text.clone().into_bytes())).collect();
        assert!(!self.secrets.is_empty() && !texts.is_empty(), "nothing to look for, or nowhere");
        let folder = self.place.dir.path();
        let written = [
            self.place.lake(),
            self.place.project.join(".lagar"),
            folder.join("home"),
            folder.join("temporary"),
        ];
        for root in written {
            for path in files_below(&root) {
                // The name of a file tells as much as its bytes.
                texts.push((path.display().to_string(), fs::read(&path).unwrap()));
            }
        }
        let mut told = Vec::new();
        for secret in &self.secrets {
            for (name, text) in &texts {
                if let Some(how) = found(text, secret).or_else(|| found(name.as_bytes(), secret)) {
                    let lines = String::from_utf8_lossy(text).into_owned();
                    let line = lines.lines().find(|line| found(line.as_bytes(), secret).is_some());
                    let line: String = line.unwrap_or_default().chars().take(600).collect();
                    told.push(format!("{secret} ({how}) in {name}: {line}"));
                }
            }
        }
        assert!(told.is_empty(), "{} places tell a secret:\n{}", told.len(), told.join("\n"));
    }
}

/// The command lines that a process and its children have.
fn command_lines(pid: u32, lines: &mut BTreeSet<String>) {
    if let Ok(line) = fs::read(format!("/proc/{pid}/cmdline")) {
        lines.insert(String::from_utf8_lossy(&line).replace('\0', " "));
    }
    for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
            command_lines(child, lines);
        }
    }
}

#[test]
fn a_secret_is_found_in_every_spelling() {
    let secret = canary(7);
    for text in [
        format!("<{secret}>"),
        format!("GET /?q={}", in_url(&secret)),
        format!("GET /?q={}", in_url(&secret).to_lowercase()),
        format!("Basic {}", base64(format!("me:{secret}").as_bytes())),
        format!("Basic {}", base64(format!("mee:{secret}").as_bytes())),
        format!("Basic {}", base64(format!("meee:{secret}:and more").as_bytes())),
        "cut short: Zq07vK8w".to_owned(),
    ] {
        assert!(found(text.as_bytes(), &secret).is_some(), "{text}");
        assert!(found(text.as_bytes(), &canary(8)).is_none(), "{text}");
    }
    assert_eq!(base64(b"any carnal pleas"), "YW55IGNhcm5hbCBwbGVhcw==");
}
