//! Whether the process that began a run is still there.

/// A process, so that it cannot be taken for a later one with the same number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    /// Which machine, since which boot, and which container on it.
    pub host: String,
    pub pid: u32,
    /// When it began, in the words of the system; empty if that cannot be known.
    pub started: String,
}

/// What is known of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    Alive,
    Gone,
    /// It runs, or ran, on another machine or in another container.
    Elsewhere,
}

impl Process {
    /// The process that asks.
    pub fn this() -> Self {
        let pid = std::process::id();
        Self { host: host(), pid, started: started(pid).unwrap_or_default() }
    }

    /// Whether this process is there, as far as it can be seen from here.
    pub fn life(&self) -> Life {
        if self.host != host() {
            return Life::Elsewhere;
        }
        match started(self.pid) {
            Some(started) if started == self.started => Life::Alive,
            _ => Life::Gone,
        }
    }
}

/// What this machine calls itself.
pub(crate) fn machine() -> Option<String> {
    #[cfg(target_os = "linux")]
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    #[cfg(not(target_os = "linux"))]
    let name = output("hostname", &[]);
    name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty())
}

#[cfg(target_os = "linux")]
fn host() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let namespace = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    format!(
        "{} {} {}",
        read("/proc/sys/kernel/hostname"),
        read("/proc/sys/kernel/random/boot_id"),
        namespace.display()
    )
}

/// Ticks since boot; `None` if there is no such process.
#[cfg(target_os = "linux")]
fn started(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the command in parentheses, and may hold spaces and parentheses itself.
    let after_command = stat.rsplit_once(')')?.1;
    let mut fields = after_command.split_whitespace();
    // A zombie ran to its end; nobody has asked for its exit code yet.
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18).map(str::to_owned)
}

#[cfg(not(target_os = "linux"))]
fn host() -> String {
    output("hostname", &[]).unwrap_or_default()
}

#[cfg(not(target_os = "linux"))]
fn started(pid: u32) -> Option<String> {
    output("ps", &["-o", "lstart=", "-p", &pid.to_string()]).filter(|text| !text.is_empty())
}

#[cfg(not(target_os = "linux"))]
fn output(command: &str, arguments: &[&str]) -> Option<String> {
    let output = std::process::Command::new(command).args(arguments).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_alive_until_it_ends() {
        assert_eq!(Process::this().life(), Life::Alive);
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process { host: host(), pid: child.id(), started: started(child.id()).unwrap() };
        assert_eq!(process.life(), Life::Alive);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(process.life(), Life::Gone);
    }

    #[test]
    fn a_later_process_with_the_same_number_is_another() {
        let process = Process { started: "1".into(), ..Process::this() };
        assert_eq!(process.life(), Life::Gone);
        let process = Process { host: "another".into(), ..Process::this() };
        assert_eq!(process.life(), Life::Elsewhere);
    }
}
