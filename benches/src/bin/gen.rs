//! Writes generated data: `lagar-gen 311 --rows 1000000 --seed 7 --out requests.ndjson`.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    process::ExitCode,
};

use lagar_benches::{city311, shop};

const USAGE: &str = "usage: lagar-gen 311|orders [--rows N] [--seed N] [--out FILE]

  311      service requests of a city, one JSON object a line, about 1.2 KB each
  orders   orders of a shop, CSV, about 90 bytes each

  --rows N      default 1000
  --seed N      default 1; the same seed gives the same bytes
  --out FILE    default standard output
";

/// Writes `rows` rows of `seed`; returns the bytes written.
type Generator = fn(&mut BufWriter<Box<dyn Write>>, u64, u64) -> io::Result<u64>;

struct Asked {
    generator: Generator,
    rows: u64,
    seed: u64,
    out: Option<String>,
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Asked, String> {
    let generator: Generator = match arguments.next().as_deref() {
        Some("311") => city311::write,
        Some("orders") => shop::write_orders,
        Some(other) => return Err(format!("there is no generator `{other}`")),
        None => return Err("what to generate is missing".into()),
    };
    let mut asked = Asked { generator, rows: 1000, seed: 1, out: None };
    while let Some(flag) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("`{flag}` needs a value"))?;
        let count =
            || value.replace('_', "").parse::<u64>().map_err(|_| format!("`{value}` is not a number"));
        match flag.as_str() {
            "--rows" => asked.rows = count()?,
            "--seed" => asked.seed = count()?,
            "--out" => asked.out = Some(value),
            other => return Err(format!("there is no option `{other}`")),
        }
    }
    Ok(asked)
}

fn generate(asked: &Asked) -> io::Result<u64> {
    let sink: Box<dyn Write> = match &asked.out {
        Some(path) => Box::new(File::create(path)?),
        None => Box::new(io::stdout().lock()),
    };
    let mut out = BufWriter::with_capacity(1 << 20, sink);
    let bytes = (asked.generator)(&mut out, asked.rows, asked.seed)?;
    out.flush()?;
    Ok(bytes)
}

fn main() -> ExitCode {
    let asked = match parse(std::env::args().skip(1)) {
        Ok(asked) => asked,
        Err(message) => {
            eprintln!("error: {message}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match generate(&asked) {
        Ok(bytes) => {
            eprintln!("{} rows, {bytes} bytes", asked.rows);
            ExitCode::SUCCESS
        }
        Err(error) => {
            let place = asked.out.as_deref().unwrap_or("standard output");
            eprintln!("error: cannot write {place}: {error}");
            ExitCode::FAILURE
        }
    }
}
