//! Everything that is printed. Data goes to stdout, all else to stderr.

pub mod predictor;
pub mod profile;
pub mod profile_html;
pub mod progress;
pub mod rows;
pub mod table;
pub mod tree;

use std::io::{IsTerminal, Write};

pub use lagar_flow::words::{counted, thousands};
use lagar_flow::{Blame, Error, Redactor, codes};

use crate::{
    args::{Global, LogFormat},
    signals,
};

pub const EXIT_FAILED: u8 = 1;
pub const EXIT_USAGE: u8 = 2;
pub const EXIT_BUG: u8 = 70;
pub const EXIT_TEMPORARY: u8 = 75;
const EXIT_INTERRUPTED: u8 = 130;

/// The exit code that `error` asks for.
pub fn exit_code(error: &Error) -> u8 {
    match error.blame() {
        Blame::Data => EXIT_FAILED,
        Blame::Usage => EXIT_USAGE,
        Blame::Lagar => EXIT_BUG,
        Blame::Outside => EXIT_TEMPORARY,
        Blame::Stopped => signals::stopped_exit_code().unwrap_or(EXIT_INTERRUPTED),
    }
}

/// Prints what clap has to say: help, the version, or what is wrong with the command line; returns the exit code.
pub fn no_command(error: &clap::Error, json: bool) -> u8 {
    let _ = error.print();
    if !error.use_stderr() {
        return 0;
    }
    // Without a command clap shows the help: nothing was said that is wrong.
    if error.kind() != clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        eprintln!("  {}", style("2").paint(&format!("[{}]", codes::USAGE.id)));
    }
    if json {
        let text = error.to_string();
        let what = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        print_failed(&Error::new(codes::USAGE, what).hint("`--help` says what there is"));
    }
    EXIT_USAGE
}

/// Prints `error` for people (and for scripts with `--json`); returns the exit code.
pub fn fail(error: &Error, json: bool) -> u8 {
    print_error(error);
    if json {
        print_failed(error);
    }
    exit_code(error)
}

fn print_failed(error: &Error) {
    let all: Vec<_> = error.each().map(Error::to_json).collect();
    let line = serde_json::json!({"status": "failed", "error": error.to_json(), "errors": all});
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// What happened, where, why, what next; each problem of the error in turn.
pub fn print_error(error: &Error) {
    let red = style("1;31");
    let dim = style("2");
    let cyan = style("36");
    let mut text = String::new();
    for (index, problem) in error.each().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        text.push_str(&format!("{}: {}\n", red.paint("error"), clean(problem.message())));
        if let Some(place) = problem.place() {
            text.push_str(&format!("  {} {place}\n", dim.paint("at")));
        }
        for cause in problem.causes() {
            text.push_str(&format!("  {} {}\n", dim.paint("caused by:"), clean(cause)));
        }
        if let Some(hint) = problem.hint_text() {
            text.push_str(&format!("\n{}: {}\n", cyan.paint("hint"), clean(hint)));
        }
        text.push_str(&format!("  {}\n", dim.paint(&format!("[{}]", problem.code().id))));
    }
    let count = error.each().count();
    if count > 1 {
        text.push_str(&format!("\n{count} problems\n"));
    }
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Says what is no error, but worth a look.
pub fn warn(text: &str) {
    eprintln!("{}: {}", style("33").paint("warning"), clean(text));
}

/// Text from outside (an answer, a cell) must not steer the terminal.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// Writes a whole file; over one that is there only if `replace`.
pub fn write_file(file: &std::path::Path, text: &str, replace: bool) -> lagar_flow::Result<()> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Error::new(codes::USAGE, format!("{} is there already", file.display()))
                .hint("look at what is in it; --force writes over it")
        }
        _ => Error::new(codes::OUTPUT, format!("{} cannot be written", file.display())).caused_by(&error),
    };
    let written = match replace {
        true => std::fs::write(file, text),
        false => std::fs::File::create_new(file).and_then(|mut created| created.write_all(text.as_bytes())),
    };
    written.map_err(failed)
}

/// A terminal style, or nothing where there is no terminal or `NO_COLOR` is set.
#[derive(Clone, Copy)]
pub struct Style(Option<&'static str>);

impl Style {
    pub fn paint(self, text: &str) -> String {
        match self.0 {
            Some(code) => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            None => text.to_owned(),
        }
    }
}

/// A style for stderr.
pub fn style(code: &'static str) -> Style {
    Style((has_colours() && std::io::stderr().is_terminal()).then_some(code))
}

/// A style for stdout.
pub fn style_out(code: &'static str) -> Style {
    Style((has_colours() && std::io::stdout().is_terminal()).then_some(code))
}

fn has_colours() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// How many characters a line of stdout may have: those of the terminal, else what `COLUMNS` says.
pub fn line_width() -> Option<usize> {
    let terminal = std::io::stdout().is_terminal().then(terminal_size::terminal_size).flatten();
    let asked = || std::env::var("COLUMNS").ok()?.parse().ok();
    terminal.map(|(width, _)| usize::from(width.0)).or_else(asked)
}

/// Log lines go to stderr; `LAGAR_LOG` takes a filter, `-v` and `-vv` widen the default.
pub fn init_logging(global: &Global) {
    use tracing_subscriber::{EnvFilter, fmt};
    // Libraries log as errors what we expect and handle (a table that is not there yet): their lines
    // only come when everything was asked for.
    let (ours, theirs) = match (global.quiet, global.verbose) {
        (true, _) => ("error", "off"),
        (_, 0) => ("warn", "off"),
        (_, 1) => ("debug", "off"),
        _ => ("trace", "info"),
    };
    let filter = EnvFilter::try_from_env("LAGAR_LOG").unwrap_or_else(|_| {
        let crates = ["lagar", "lagar_connectors", "lagar_engine", "lagar_lake", "lagar_orchestrate"];
        EnvFilter::new(
            crates.iter().fold(theirs.to_owned(), |filter, name| format!("{filter},{name}={ours}")),
        )
    });
    // Whatever a library thinks worth a line: no secret is in it.
    let secrets = global.secrets.clone();
    let clean = move || CleanStderr(secrets.clone());
    let builder = fmt().with_env_filter(filter).with_writer(clean).with_target(false);
    match global.log_format {
        LogFormat::Json => builder.json().init(),
        LogFormat::Text => builder.with_ansi(style("1").0.is_some()).without_time().init(),
    }
}

/// A panic says what it would say anyway, with the values that it happened to hold, but no secret.
pub fn clean_panics(secrets: &Redactor) {
    let secrets = secrets.clone();
    std::panic::set_hook(Box::new(move |panic| {
        // Empty unless RUST_BACKTRACE asks for it.
        let backtrace = std::backtrace::Backtrace::capture();
        let thread = std::thread::current();
        let mut text = format!("thread `{}` {panic}\n", thread.name().unwrap_or("without a name"));
        if backtrace.status() == std::backtrace::BacktraceStatus::Captured {
            text.push_str(&backtrace.to_string());
        }
        // Nothing can be done about a stderr that is closed.
        let _ = CleanStderr(secrets.clone()).write_all(text.as_bytes());
    }));
}

/// Stderr without secrets. A log line comes in one piece.
struct CleanStderr(Redactor);

impl Write for CleanStderr {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let clean = self.0.text(&String::from_utf8_lossy(line));
        std::io::stderr().write_all(clean.as_bytes()).map(|()| line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

/// Writes to stdout; a reader that went away (`| head`) is not an error.
pub fn stdout(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// `1536` → `1.5 KiB`.
pub fn bytes(count: u64) -> String {
    indicatif::BinaryBytes(count).to_string()
}

/// `0.0312` → `31 ms`.
pub fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => format!("{:.0} ms", s * 1000.0),
        s if s < 60.0 => format!("{s:.1} s"),
        s => format!("{:.0} min {:02.0} s", (s / 60.0).floor(), s % 60.0),
    }
}
