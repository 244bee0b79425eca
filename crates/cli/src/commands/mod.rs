//! One file a command: it asks the other crates, and prints.

mod backfill;
mod check;
mod completions;
mod config;
mod connectors;
mod doctor;
mod init;
mod lineage;
mod ls;
mod plan;
mod predictors;
mod profile;
mod quarantine;
mod releases;
mod run;
mod runs;
mod show;
mod sql;
mod table;
mod test;
mod version;

use std::sync::Arc;

use lagar_flow::{Clock, Result, SystemClock};
use lagar_orchestrate::{BackfillOptions, LoadOptions, Project, Workplace};

use crate::args::{Args, Command, Global};

/// Runs the command; returns the exit code.
pub async fn run(args: Args) -> Result<u8> {
    let global = args.global;
    match args.command {
        Command::Init { name } => init::run(&global, &name).await,
        Command::Run { project, selection, full_refresh, partition, dry_run, skip_exit_code } => {
            let global = at(global, project.dir);
            if dry_run {
                return plan::run(&global, selection.select).await;
            }
            let options = run::Options {
                select: selection.select,
                full_refresh,
                partitions: partition,
                skip_exit_code,
            };
            run::run(&global, options).await
        }
        Command::Backfill { source, project, from, to, parallel, force } => {
            let parallel = usize::from(parallel);
            let what = BackfillOptions { source, from, to, parallel, force };
            backfill::run(&at(global, project.dir), what).await
        }
        Command::Check { project } => check::run(&at(global, project.dir)).await,
        Command::Plan { project, selection } => plan::run(&at(global, project.dir), selection.select).await,
        Command::Test { project, filter } => test::run(&at(global, project.dir), filter.as_deref()).await,
        Command::Sql { query, format, output } => sql::run(&global, query, format, output).await,
        Command::Show { table } => show::run(&global, &table).await,
        Command::Profile(args) => profile::run(&global, &args).await,
        Command::Lineage(args) => lineage::run(&global, &args).await,
        Command::Ls { project } => ls::run(&at(global, project.dir)).await,
        Command::Runs { action } => runs::run(&global, action).await,
        Command::Releases { action } => releases::run(&global, action).await,
        Command::Predictors { action } => predictors::run(&global, action).await,
        Command::Quarantine { action } => quarantine::run(&global, action).await,
        Command::Table { action } => table::run(&global, action).await,
        Command::Config { action } => config::run(&global, action).await,
        Command::Doctor { project } => doctor::run(&at(global, project.dir)).await,
        Command::Connectors { kind } => connectors::run(&global, kind.as_deref()),
        Command::Completions { shell } => completions::run(shell),
        Command::Version => version::run(&global),
    }
}

/// The positional project wins over `--project`.
fn at(mut global: Global, dir: Option<String>) -> Global {
    if let Some(dir) = dir {
        global.project = dir;
    }
    global
}

/// Reads the project that the command line names.
async fn load(global: &Global) -> Result<Arc<Project>> {
    Ok(Arc::new(Project::load(&global.project, options(global)).await?))
}

fn options(global: &Global) -> LoadOptions {
    let mut options = LoadOptions::of_process(global.profile.clone(), global.vars.clone());
    options.secrets = global.secrets.clone();
    options
}

/// The project and its lake.
async fn open(global: &Global) -> Result<Workplace> {
    Workplace::open(load(global).await?, clock()).await
}

/// The same for a command that reads the lake and asks no source: it needs no source's login.
async fn open_to_read(global: &Global) -> Result<Workplace> {
    let mut options = options(global);
    options.reading = true;
    Workplace::open(Arc::new(Project::load(&global.project, options).await?), clock()).await
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}
