use std::{
    fs::File,
    io::{BufWriter, IsTerminal, Read, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use lagar_flow::{Error, Result, codes};
use lagar_orchestrate::{Reader, Strategy, Workplace};

use crate::{
    args::{Format, Global},
    output, signals,
};

mod prompt;

pub async fn run(
    global: &Global,
    query: Option<String>,
    format: Option<Format>,
    file: Option<PathBuf>,
) -> Result<u8> {
    // The file and the flag are for the same rows: what the flag is for is stdout.
    let file = file.filter(|file| !is_stdout(file));
    let asked = format.or((global.json && file.is_none()).then_some(Format::Json));
    let format = format_of(asked, file.as_deref())?;
    let workplace = super::open_to_read(global).await?;
    let query = match query.as_deref() {
        Some("-") => read_stdin()?,
        Some(query) => query.to_owned(),
        None if std::io::stdin().is_terminal() => return prompt::run(&workplace, format).await,
        None => read_stdin()?,
    };
    let cancel = signals::stop_on_signal()?;
    tokio::select! {
        done = answer(&workplace, &query, format, file) => done.map(|()| 0),
        () = cancel.cancelled() => Err(Error::new(codes::STOPPED, "stopped")),
    }
}

/// `-o -` and its kin mean what is written without `-o`: the open stream, wherever it goes.
fn is_stdout(file: &Path) -> bool {
    ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"].iter().any(|name| file == Path::new(name))
}

/// A box is for the eye: it shows 40 rows and cuts long cells, so it is never what a file is for.
fn format_of(asked: Option<Format>, file: Option<&Path>) -> Result<Format> {
    let Some(file) = file else { return Ok(asked.unwrap_or(Format::Box)) };
    let extension = file.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    let format = asked.or(match extension.as_deref() {
        Some("csv") => Some(Format::Csv),
        Some("json") => Some(Format::Json),
        Some("ndjson" | "jsonl") => Some(Format::Ndjson),
        Some("md") => Some(Format::Markdown),
        Some("parquet") => Some(Format::Parquet),
        Some("arrow" | "arrows") => Some(Format::Arrow),
        _ => None,
    });
    match format {
        Some(Format::Box) => {
            Err(Error::new(codes::USAGE, "a box shows only some rows and is not for a file")
                .hint("use --format csv, json, ndjson, markdown, parquet or arrow"))
        }
        Some(format) => Ok(format),
        None => Err(Error::new(codes::USAGE, format!("{} does not tell its format", file.display()))
            .hint("add --format csv, json, ndjson, markdown, parquet or arrow")),
    }
}

async fn answer(workplace: &Workplace, query: &str, format: Format, file: Option<PathBuf>) -> Result<()> {
    let reader = Reader::open(workplace).await?;
    let Some(path) = file else {
        if matches!(format, Format::Parquet | Format::Arrow) && std::io::stdout().is_terminal() {
            return Err(Error::new(codes::USAGE, "that format is not for a terminal").hint("add -o FILE"));
        }
        let result = reader.query(query).await?;
        let mut out = BufWriter::new(Pipe(std::io::stdout()));
        output::rows::write(result.batches, format, &mut out).await?;
        return Ok(());
    };
    let failed = |path: &Path, error: &std::io::Error| {
        Error::new(codes::OUTPUT, format!("{} cannot be written", path.display())).caused_by(error)
    };
    // A link is written through; what is no plain file (a pipe, /dev/null) cannot be replaced by one.
    let path = path.canonicalize().unwrap_or(path);
    let before = std::fs::metadata(&path).ok();
    if before.as_ref().is_some_and(|before| !before.is_file()) {
        let result = reader.query(query).await?;
        let target = File::options().write(true).open(&path).map_err(|e| failed(&path, &e))?;
        output::rows::write(result.batches, format, &mut BufWriter::new(target)).await?;
        return Ok(());
    }
    // Written beside and renamed: a query that fails half-way leaves an older file as it was.
    let folder =
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(std::path::Path::new("."));
    let fill = async |strategy| {
        let result = reader.query_with(query, strategy).await?;
        let temp = tempfile::NamedTempFile::new_in(folder).map_err(|e| failed(&path, &e))?;
        let mut out = BufWriter::new(temp.as_file().try_clone().map_err(|e| failed(&path, &e))?);
        let rows = output::rows::write(result.batches, format, &mut out).await?;
        let file: File = out.into_inner().map_err(|e| failed(&path, e.error()))?;
        Ok::<_, Error>((temp, file, rows))
    };
    let (temp, file, rows) = match fill(Strategy::Default).await {
        // Nobody has seen a row of it yet.
        Err(error) if error.code() == codes::MEMORY => {
            eprintln!("{}; planned again for less", error.message());
            fill(Strategy::LowMemory).await?
        }
        filled => filled?,
    };
    // The mode that a new file gets, or that the old one had; a temporary file has a stricter one.
    let mode = before.map_or(0o666 & !umask(), |before| before.permissions().mode());
    file.set_permissions(std::fs::Permissions::from_mode(mode)).map_err(|e| failed(&path, &e))?;
    file.sync_all().map_err(|e| failed(&path, &e))?;
    temp.persist(&path).map_err(|e| failed(&path, &e.error))?;
    eprintln!("{} rows in {}", output::thousands(rows), path.display());
    Ok(())
}

/// The process's umask, as the kernel tells it; the usual one where it does not.
fn umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    line.and_then(|text| u32::from_str_radix(text.trim(), 8).ok()).unwrap_or(0o022)
}

fn read_stdin() -> Result<String> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|error| Error::new(codes::USAGE, "the query on stdin cannot be read").caused_by(&error))?;
    Ok(text)
}

/// Stdout whose reader may go away (`| head`): that ends the output and is not an error.
struct Pipe(std::io::Stdout);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes).or_else(|error| match error.kind() {
            std::io::ErrorKind::BrokenPipe => std::process::exit(0),
            _ => Err(error),
        })
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush().or_else(|error| match error.kind() {
            std::io::ErrorKind::BrokenPipe => std::process::exit(0),
            _ => Err(error),
        })
    }
}
