use std::{
    fs::File,
    io::{BufWriter, IsTerminal, Read, Write},
    path::PathBuf,
};

use lagar_flow::{Error, Result, codes};
use lagar_orchestrate::{Reader, Workplace};

use crate::{
    args::{Format, Global},
    output, signals,
};

mod prompt;

pub async fn run(
    global: &Global,
    query: Option<String>,
    format: Format,
    file: Option<PathBuf>,
) -> Result<u8> {
    let workplace = super::open(global).await?;
    let query = match query.as_deref() {
        Some("-") => read_stdin()?,
        Some(query) => query.to_owned(),
        None if std::io::stdin().is_terminal() => return prompt::run(&workplace, format).await,
        None => read_stdin()?,
    };
    let cancel = signals::stop_on_signal()
        .map_err(|error| Error::bug("signals cannot be watched").caused_by(&error))?;
    tokio::select! {
        done = answer(&workplace, &query, format, file) => done.map(|()| 0),
        () = cancel.cancelled() => Err(Error::new(codes::STOPPED, "stopped")),
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
    let result = reader.query(query).await?;
    let failed = |error: &std::io::Error| {
        Error::new(codes::OUTPUT, format!("{} cannot be written", path.display())).caused_by(error)
    };
    // Written beside and renamed: a query that fails half-way leaves an older file as it was.
    let folder =
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(std::path::Path::new("."));
    let temp = tempfile::NamedTempFile::new_in(folder).map_err(|e| failed(&e))?;
    let mut out = BufWriter::new(temp.as_file().try_clone().map_err(|e| failed(&e))?);
    let rows = output::rows::write(result.batches, format, &mut out).await?;
    let file: File = out.into_inner().map_err(|e| failed(e.error()))?;
    file.sync_all().map_err(|e| failed(&e))?;
    temp.persist(&path).map_err(|e| failed(&e.error))?;
    eprintln!("{} rows in {}", output::thousands(rows), path.display());
    Ok(())
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
