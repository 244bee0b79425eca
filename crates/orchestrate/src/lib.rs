//! A project, and what is done with it: check, plan, run, test, read, remember.

mod backfill;
mod base;
mod build;
mod check;
mod config;
mod doctor;
mod dotenv;
mod drift;
mod files;
mod git;
mod graph;
mod history;
mod lineage;
mod load;
mod lock;
mod model_tests;
mod overlay;
mod plan;
mod predictor;
pub mod predictors;
mod profile;
pub mod project;
mod reader;
mod rebuild;
mod redrive;
mod report;
mod run;
mod schema;
mod secrets;
mod steps_table;
mod system;
mod unit;
mod upkeep;
mod vars;
mod windows;
mod workplace;

pub use backfill::{BackfillOptions, backfill};
pub use check::{Checked, check};
pub use doctor::{Finding, doctor};
pub use history::History;
pub use lagar_engine::Strategy;
pub use lineage::{
    AskedPredictor, ColumnEdge, ColumnLineage, ColumnNode, Direction, Edge, EdgeKind, LastRun, Lineage, Node,
    column_lineage, lineage,
};
pub use plan::{Action, PlannedStep, plan};
pub use profile::{ProfileOptions, TableProfile, profile};
pub use project::{Draft, LoadOptions, Project, project_schema};
pub use reader::Reader;
pub use redrive::retry;
pub use report::{CheckReport, Provenance, Report, Status, StepKind, StepReport, WindowCounts};
pub use run::{RunOptions, Unwatched, Watcher, run};
pub use unit::{TestResult, test};
pub use upkeep::{CompactReport, CompactedTable, compact};
pub use workplace::{Scratch, Workplace};
