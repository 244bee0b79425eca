//! The command line. What each command does is in `commands/`, one file each.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use chrono::NaiveDate;
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use lagar_connectors::window::parse_date;
use lagar_flow::Redactor;

/// Builds data lakes: sources to raw, SQL to trusted and refined, checked and released together.
#[derive(Debug, Parser)]
#[command(
    name = "lagar",
    version,
    propagate_version = true,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub struct Args {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

impl Args {
    /// The command line of this process.
    pub fn of_process() -> Result<Self, clap::Error> {
        Self::try_parse_from(std::env::args_os().map(text_is_no_flag))
    }
}

/// SQL may begin with a comment, and clap takes what begins with `--` for a flag: with a space in front it does
/// not. No name of a flag has white space; what stands behind its `=` may.
fn text_is_no_flag(arg: OsString) -> OsString {
    let is_text = arg.to_str().is_some_and(|text| {
        let name = text.split_once('=').map_or(text, |(name, _)| name);
        text.starts_with("--") && name.contains(char::is_whitespace)
    });
    if !is_text {
        return arg;
    }
    let mut text = OsString::from(" ");
    text.push(arg);
    text
}

/// What every command takes.
#[derive(Debug, Clone, ClapArgs)]
pub struct Global {
    /// The project: a folder with lagar.yaml, or s3://bucket/prefix
    #[arg(short, long, global = true, value_name = "DIR", default_value = ".", env = "LAGAR_PROJECT")]
    pub project: String,
    /// Lays the keys of this profile over lagar.yaml
    #[arg(long, global = true, value_name = "NAME", env = "LAGAR_PROFILE")]
    pub profile: Option<String>,
    /// Sets ${vars.KEY}
    #[arg(long = "var", global = true, value_name = "KEY=VALUE", value_parser = key_value)]
    pub vars: Vec<(String, String)>,
    /// Prints one JSON line at the end of stdout, for scripts
    #[arg(long, global = true)]
    pub json: bool,
    /// Prints only errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Prints more; twice: everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// How log lines look on stderr
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// What must not be printed; whoever reads a secret adds it.
    #[arg(skip)]
    pub secrets: Redactor,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".into()),
    }
}

/// The project as a positional argument, for the commands that take one.
#[derive(Debug, Clone, ClapArgs)]
pub struct Positional {
    /// The project, instead of --project
    #[arg(value_name = "PROJECT")]
    pub dir: Option<String>,
}

#[derive(Debug, Clone, ClapArgs)]
pub struct Selection {
    /// Only these: name, +name (with what it needs), name+ (with what needs it), tag:x, path:x; comma: both
    #[arg(short, long = "select", value_name = "SELECT")]
    pub select: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Makes a new project that runs at once
    Init {
        /// Its name and folder
        name: String,
    },
    /// Loads sources, builds and checks tables, publishes a release
    Run {
        #[command(flatten)]
        project: Positional,
        #[command(flatten)]
        selection: Selection,
        /// Reads sources from their beginning and rebuilds every selected table
        #[arg(long)]
        full_refresh: bool,
        /// Makes a partition of the selected tables again that are made by `materialize: partition`
        #[arg(long, value_name = "COLUMN=VALUE", value_parser = key_value, conflicts_with = "full_refresh")]
        partition: Vec<(String, String)>,
        /// Says what would be done, and does nothing
        #[arg(long)]
        dry_run: bool,
        /// Exits with this code instead of 0 when there was nothing new (99 makes Airflow skip)
        #[arg(long, value_name = "CODE")]
        skip_exit_code: Option<u8>,
    },
    /// Reads the past of a source that is read by windows: what is missing between two days
    Backfill {
        /// The source, as lagar.yaml names it
        source: String,
        #[command(flatten)]
        project: Positional,
        /// The first day: 2010-01-17
        #[arg(long, value_name = "DAY", value_parser = parse_date)]
        from: NaiveDate,
        /// The last day
        #[arg(long, value_name = "DAY", value_parser = parse_date)]
        to: NaiveDate,
        /// So many windows are fetched at once; they land one after the other all the same
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
        parallel: u16,
        /// Also the windows that were read before; what has not changed is not loaded again
        #[arg(long)]
        force: bool,
    },
    /// Finds every problem of a project without reading data
    Check {
        #[command(flatten)]
        project: Positional,
    },
    /// Says what a run would do, and why
    Plan {
        #[command(flatten)]
        project: Positional,
        #[command(flatten)]
        selection: Selection,
    },
    /// Runs the unit tests of the models
    Test {
        #[command(flatten)]
        project: Positional,
        /// Only the tests of models whose name contains this
        #[arg(short, long, value_name = "TEXT")]
        filter: Option<String>,
    },
    /// Queries the lake: raw, trusted, refined, quarantine, refused and system tables
    Sql {
        /// One SELECT; `-` reads it from stdin; without it: a prompt
        query: Option<String>,
        #[arg(
            short,
            long,
            value_name = "FORMAT",
            help = "How rows are written; default: as the file's name ends, else box"
        )]
        format: Option<Format>,
        /// Writes to a file instead of stdout
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Describes a table: columns, rows, version, inputs
    Show {
        /// zone.name
        table: String,
    },
    /// Looks at the columns of a table: nulls, distinct values, bounds, histograms; suggests a model
    Profile(ProfileArgs),
    /// Draws what a table or a column is made from, or what is made from it
    Lineage(LineageArgs),
    /// Lists sources and tables
    Ls {
        #[command(flatten)]
        project: Positional,
    },
    /// Lists runs, or shows one
    Runs {
        #[command(subcommand)]
        action: Option<RunsAction>,
    },
    /// Lists releases, or makes an earlier one current again
    Releases {
        #[command(subcommand)]
        action: Option<ReleasesAction>,
    },
    /// Lists predictors and shows how good they are; trains, asks and promotes them
    Predictors {
        #[command(subcommand)]
        action: Option<PredictorsAction>,
    },
    /// Tries rejected rows again, after what rejected them has changed
    Quarantine {
        #[command(subcommand)]
        action: QuarantineAction,
    },
    /// Maintains tables: takes away what nobody needs, puts small files together
    Table {
        #[command(subcommand)]
        action: TableAction,
    },
    /// Shows the configuration as it is understood, or its JSON schema
    Config {
        #[command(subcommand)]
        action: ConfigAction,
    },
    /// Tries what a run needs: the lake, the machine's limits, the history
    Doctor {
        #[command(flatten)]
        project: Positional,
    },
    /// Lists the kinds of sources and their keys
    Connectors {
        /// One kind, with all its keys
        kind: Option<String>,
    },
    /// Prints the completions of a shell
    Completions { shell: clap_complete::Shell },
    /// Prints the version
    Version,
}

#[derive(Debug, Clone, ClapArgs)]
pub struct ProfileArgs {
    /// raw.x, trusted.x, refined.x, quarantine.x, system.x
    pub table: String,
    /// Only these columns, with commas between them
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    pub columns: Vec<String>,
    /// Only the rows for which this holds (_newest, day > '2024-01-01')
    #[arg(long = "where", value_name = "SQL")]
    pub filter: Option<String>,
    /// Writes a page with pictures, which needs no other file
    #[arg(long, value_name = "FILE", conflicts_with = "suggest")]
    pub html: Option<PathBuf>,
    /// Prints a model that cleans the table: without columns that are mostly null or always the same
    #[arg(long)]
    pub suggest: bool,
    /// Writes the model to a file that is not there yet
    #[arg(short, long, value_name = "FILE", requires = "suggest")]
    pub output: Option<PathBuf>,
    /// Writes over a file that is there
    #[arg(long, requires = "output")]
    pub force: bool,
    /// Columns go when more than this share is null
    #[arg(long, value_name = "SHARE", default_value_t = 0.5, requires = "suggest", value_parser = share)]
    pub null_share: f64,
    /// Columns go when they have at most so many different values
    #[arg(long, value_name = "N", default_value_t = 1, requires = "suggest")]
    pub distinct: u64,
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("write a number between 0 and 1".into()),
    }
}

#[derive(Debug, Clone, ClapArgs)]
pub struct LineageArgs {
    /// zone.name; default: all tables
    pub table: Option<String>,
    /// One column of the table, through all models
    #[arg(short, long, requires = "table")]
    pub column: Option<String>,
    /// What is made from it, in place of what it is made from
    #[arg(long)]
    pub down: bool,
    /// Draws for another program
    #[arg(short, long, value_name = "FORMAT")]
    pub format: Option<GraphFormat>,
}

/// How a lineage is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    Mermaid,
    Dot,
}

#[derive(Debug, Clone, Subcommand)]
pub enum RunsAction {
    /// The newest runs
    List {
        #[arg(short = 'n', long, default_value_t = 20)]
        limit: u32,
    },
    /// The steps of one run (default: the newest)
    Show { run: Option<String> },
}

#[derive(Debug, Clone, Subcommand)]
pub enum ReleasesAction {
    /// All releases
    List,
    /// Publishes the tables of release NUMBER again
    Rollback { number: u64 },
}

#[derive(Debug, Clone, Subcommand)]
pub enum PredictorsAction {
    /// All predictors, and which version is current
    List,
    /// How good a predictor is, beside its baselines, and what it goes by
    Show {
        name: String,
        /// Default: the current version, else the newest
        #[arg(value_name = "VERSION")]
        number: Option<u64>,
        /// Writes a page with pictures, which needs no other file
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
    },
    /// Trains predictors whose table or settings changed, and releases those that are good enough
    Train {
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
        /// Also if nothing changed
        #[arg(long)]
        force: bool,
    },
    /// Asks a predictor for each row of a table
    Score {
        name: String,
        /// Default: the table that it learned from
        table: Option<String>,
        #[arg(
            short,
            long,
            value_name = "FORMAT",
            help = "How rows are written; default: as the file's name ends, else box"
        )]
        format: Option<Format>,
        /// Writes to a file instead of stdout
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Makes a version current, whatever was found about it
    Promote {
        name: String,
        #[arg(value_name = "VERSION")]
        number: u64,
    },
    /// Makes the version that was current before current again
    Rollback { name: String },
    /// Lists the algorithms and their parameters
    Algorithms {
        /// One algorithm, with all its parameters
        name: Option<String>,
    },
}

#[derive(Debug, Clone, Subcommand)]
pub enum QuarantineAction {
    /// Takes the rows that fit by now, into the tables that need them too; reads no source
    Retry {
        /// Only these sources and models (orders, raw.orders, trusted.orders); default: all
        #[arg(value_name = "TABLE")]
        tables: Vec<String>,
    },
}

#[derive(Debug, Clone, Subcommand)]
pub enum TableAction {
    /// Removes files that no load, kept version or kept release needs, and old releases
    Vacuum {
        /// Only these (raw.x, trusted.y, refined.z), and no release; default: the whole lake
        #[arg(value_name = "TABLE")]
        tables: Vec<String>,
        /// Says what would go, and removes nothing
        #[arg(long)]
        dry_run: bool,
        /// So many of the newest releases stay; older ones can be rolled back to no more
        #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
        keep_releases: u32,
        /// Nothing younger goes: longer than any run and any query takes (12h, 7d); at least 1h
        #[arg(long, value_name = "AGE", default_value = "7d", value_parser = retention)]
        older_than: Duration,
    },
    /// Puts the small files of released tables together; no row and no result changes
    Compact {
        /// Only these; default: every released table
        #[arg(value_name = "TABLE")]
        tables: Vec<String>,
        /// Says what would be done, and does nothing
        #[arg(long)]
        dry_run: bool,
    },
}

/// What a run has written and not committed yet must not be taken for left behind.
fn retention(text: &str) -> Result<Duration, String> {
    let age = lagar_connectors::config::parse_duration(text)?;
    match age >= Duration::from_secs(3600) {
        true => Ok(age),
        false => Err("a run that goes on could lose what it has written; at least 1h".into()),
    }
}

#[derive(Debug, Clone, Subcommand)]
pub enum ConfigAction {
    /// The values in force
    Show {
        /// Says where each value comes from
        #[arg(long)]
        origin: bool,
    },
    /// The JSON schema of lagar.yaml, for editors
    Schema {
        /// That of what is stored of a predictor instead.
        #[arg(long)]
        predictor: bool,
    },
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Box,
    Csv,
    Json,
    Ndjson,
    Markdown,
    Parquet,
    Arrow,
}
