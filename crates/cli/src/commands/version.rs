use lagar_flow::Result;

use crate::{args::Global, output};

pub fn run(global: &Global) -> Result<u8> {
    let version = env!("CARGO_PKG_VERSION");
    if global.json {
        output::stdout(&format!("{}\n", serde_json::json!({"name": "lagar", "version": version})));
    } else {
        output::stdout(&format!("lagar {version}\n"));
    }
    Ok(0)
}
