//! A disk that is soon full.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// A file system of a few MB that only this test sees: in a mount namespace of a process of its own,
/// reached from outside through `/proc`.
pub struct SmallDisk {
    /// Where this process finds it.
    pub folder: PathBuf,
    bytes: u64,
    keeper: Child,
    /// How others come into its namespaces.
    enter: &'static [&'static str],
    here: tempfile::TempDir,
}

impl SmallDisk {
    /// `None`, and said, where mounting is not allowed.
    pub fn mount(bytes: u64) -> Option<Self> {
        let here = tempfile::tempdir().unwrap();
        let script = format!(
            "mount -t tmpfs -o size={bytes} none '{}' && echo mounted && exec cat",
            here.path().display()
        );
        // Root may mount in a namespace; others where the kernel lets users have namespaces of their own.
        for (namespaces, enter) in [("-m", &["-m"][..]), ("-rm", &["-m", "-U", "--preserve-credentials"])] {
            let keeper = Command::new("unshare")
                .args([namespaces, "sh", "-c", &script])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn();
            let Ok(mut keeper) = keeper else { break };
            let mut line = String::new();
            BufReader::new(keeper.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
            if line == "mounted\n" {
                let folder = PathBuf::from(format!("/proc/{}/root{}", keeper.id(), here.path().display()));
                if fs::metadata(&folder).is_ok() {
                    return Some(Self { folder, bytes, keeper, enter, here });
                }
            }
            keeper.kill().unwrap();
            keeper.wait().unwrap();
        }
        println!("skipped: a file system may not be mounted here");
        None
    }

    /// Where [`Self::inside`] finds it.
    pub fn path(&self) -> &Path {
        self.here.path()
    }

    /// `command` among those who see the disk in its place.
    pub fn inside(&self, command: &Command) -> Command {
        let mut inside = Command::new("nsenter");
        inside.args(["-t", &self.keeper.id().to_string()]).args(self.enter).arg("--");
        inside.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        inside
    }

    /// Fills the disk until so many bytes are free.
    pub fn leave(&self, bytes: u64) {
        let ballast = self.folder.join("ballast");
        let _ = fs::remove_file(&ballast);
        if bytes >= self.bytes {
            return;
        }
        // (`df` would look at what lies at this path in our own namespace.)
        let output = Command::new("stat").args(["-f", "-c", "%a %S"]).arg(&self.folder).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let free: u64 = text.split_whitespace().map(|number| number.parse::<u64>().unwrap()).product();
        assert!(free <= self.bytes, "{free} bytes are free: this is another disk");
        let length = usize::try_from(free.saturating_sub(bytes)).unwrap();
        fs::write(&ballast, vec![0; length]).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}
