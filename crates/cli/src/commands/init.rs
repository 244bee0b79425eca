use std::{fs, path::Path};

use lagar_flow::{Error, Name, Result, codes};

use crate::{args::Global, output};

/// The files of a new project: a small one that runs at once, and shows each kind of thing once.
const FILES: &[(&str, &str)] = &[
    ("lagar.yaml", include_str!("init/lagar.yaml")),
    ("data/visits.csv", include_str!("init/visits.csv")),
    ("trusted/visits.sql", include_str!("init/trusted_visits.sql")),
    ("refined/visits_by_day.sql", include_str!("init/refined_visits_by_day.sql")),
    ("tests/visits_by_day.yaml", include_str!("init/tests_visits_by_day.yaml")),
    (".gitignore", "lake/\n.lagar/\n.env\n"),
];

pub fn run_in(parent: &Path, name: &str) -> Result<()> {
    let name: Name = name.parse()?;
    let folder = parent.join(name.as_str());
    let failed = |error: std::io::Error| {
        Error::new(codes::OUTPUT, format!("{} cannot be written", folder.display())).caused_by(&error)
    };
    if folder.exists() {
        return Err(Error::new(codes::USAGE, format!("{} exists already", folder.display()))
            .hint("choose another name, or remove it first"));
    }
    for (path, text) in FILES {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        fs::write(&path, text.replace("PROJECT_NAME", name.as_str())).map_err(failed)?;
    }
    Ok(())
}

pub async fn run(global: &Global, name: &str) -> Result<u8> {
    run_in(Path::new("."), name)?;
    if global.quiet {
        return Ok(0);
    }
    if global.json {
        output::stdout(&format!("{}\n", serde_json::json!({"project": name})));
        return Ok(0);
    }
    output::stdout(&format!(
        "made {name}/ with a source, two models and a test. Next:\n\n  lagar run {name}\n  lagar sql -p {name} \"SELECT * FROM refined.visits_by_day\"\n  lagar test {name}\n"
    ));
    Ok(0)
}
