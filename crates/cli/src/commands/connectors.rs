use lagar_connectors::KINDS;
use lagar_flow::{Error, Result, codes};
use serde_json::Value;

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
    let mut rows = Vec::new();
    keys(&schema, &schema, "", &mut rows);
    output::stdout(&output::table::listing(&["key", "default", "meaning"], rows, &[]));
    output::stdout(
        "\nand the keys of every source: columns, max_rejected, require_rows, schema, description, tags (docs/guide.md)\n",
    );
    Ok(0)
}

/// A row for each key of `object`, and below it for the keys of its value.
pub(super) fn keys(root: &Value, object: &Value, prefix: &str, rows: &mut Vec<Vec<String>>) {
    let required: Vec<&str> =
        object["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (key, property) in object["properties"].as_object().into_iter().flatten() {
        // What tells one form of a value from another stands in the name of its keys.
        if property["const"].is_string() {
            continue;
        }
        let default = match &property["default"] {
            Value::Null if required.contains(&key.as_str()) => "required".to_owned(),
            Value::Null | Value::Object(_) => String::new(),
            value => value.to_string(),
        };
        let value = resolved(root, property);
        let description =
            [property, value].iter().find_map(|schema| schema["description"].as_str()).unwrap_or_default();
        let name = format!("{prefix}{key}");
        rows.push(vec![name.clone(), default, description.replace('\n', " ")]);
        keys(root, value, &format!("{name}."), rows);
        for form in value["oneOf"].as_array().into_iter().flatten() {
            let about = form["description"].as_str().unwrap_or_default().replace('\n', " ");
            match form["properties"]["type"]["const"].as_str() {
                Some(kind) => {
                    rows.push(vec![format!("{name}: {{type: {kind}}}"), String::new(), about]);
                    keys(root, form, &format!("  {name}."), rows);
                }
                None => keys(root, form, &format!("{name}."), rows),
            }
        }
    }
}

/// Behind a reference, and of "this or null" the this.
fn resolved<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    if let Some(name) = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix("#/$defs/")) {
        return &root["$defs"][name];
    }
    let choices = schema["anyOf"].as_array();
    match choices.and_then(|choices| choices.iter().find(|choice| choice["type"] != "null")) {
        Some(choice) => resolved(root, choice),
        None => schema,
    }
}
