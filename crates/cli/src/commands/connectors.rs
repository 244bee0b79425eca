use lagar_connectors::KINDS;
use lagar_flow::{Error, Result, codes};

use crate::{args::Global, output};

pub fn run(global: &Global, kind: Option<&str>) -> Result<u8> {
    let Some(name) = kind else {
        if global.json {
            let kinds: Vec<_> = KINDS
                .iter()
                .map(|kind| serde_json::json!({"name": kind.name, "summary": kind.summary}))
                .collect();
            output::stdout(&format!("{}\n", serde_json::Value::from(kinds)));
        } else {
            let rows = KINDS.iter().map(|kind| vec![kind.name.to_owned(), kind.summary.to_owned()]).collect();
            output::stdout(&output::table::listing(&["type", "reads"], rows, &[]));
            output::stdout("\nlagar connectors TYPE shows all keys of one\n");
        }
        return Ok(0);
    };
    let Some(kind) = lagar_connectors::kind(name) else {
        let names: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
        return Err(Error::new(codes::USAGE, format!("there is no kind of source `{name}`"))
            .hint(format!("the kinds are {}", names.join(", "))));
    };
    let schema = (kind.schema)().to_value();
    if global.json {
        output::stdout(&format!("{schema}\n"));
        return Ok(0);
    }
    output::stdout(&format!("type: {}    {}\n\n", kind.name, kind.summary));
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(|name| name.as_str()).collect();
    let mut rows = Vec::new();
    for (key, property) in schema["properties"].as_object().into_iter().flatten() {
        let description = property["description"].as_str().unwrap_or_default().replace('\n', " ");
        let default = match &property["default"] {
            serde_json::Value::Null if required.contains(&key.as_str()) => "required".to_owned(),
            serde_json::Value::Null => String::new(),
            serde_json::Value::Object(_) => String::new(),
            value => value.to_string(),
        };
        rows.push(vec![key.clone(), default, description]);
    }
    output::stdout(&output::table::listing(&["key", "default", "meaning"], rows, &[]));
    Ok(0)
}
