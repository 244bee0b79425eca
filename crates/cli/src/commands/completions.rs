use clap::CommandFactory;
use lagar_flow::Result;

use crate::{args::Args, output};

pub fn run(shell: clap_complete::Shell) -> Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "lagar", &mut script);
    output::stdout(&String::from_utf8_lossy(&script));
    Ok(0)
}
