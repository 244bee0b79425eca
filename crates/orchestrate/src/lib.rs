//! A project, and what is done with it: check, plan, run, test, read, remember.

mod build;
mod check;
mod config;
mod doctor;
mod dotenv;
mod files;
mod graph;
mod history;
mod load;
mod model_tests;
mod overlay;
mod plan;
pub mod project;
mod reader;
mod rebuild;
mod report;
mod run;
mod schema;
mod secrets;
mod system;
mod unit;
mod vars;
mod workplace;

pub use check::{Checked, check};
pub use doctor::{Finding, doctor};
pub use history::History;
pub use plan::{Action, PlannedStep, plan};
pub use project::{LoadOptions, Project, project_schema};
pub use reader::Reader;
pub use report::{CheckReport, Report, Status, StepKind, StepReport};
pub use run::{RunOptions, Unwatched, Watcher, run};
pub use unit::{TestResult, test};
pub use workplace::{Scratch, Workplace};
