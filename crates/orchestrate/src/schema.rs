//! The JSON Schema of `lagar.yaml`, put together from the types that read it.

use lagar_connectors::{KINDS, Kind};
use lagar_ml::{ALGORITHMS, Spec};
use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use crate::config::{CommonConfig, LimitsSection};

/// The JSON Schema of the project file, for editors and `lagar config schema`.
pub fn project_schema() -> Value {
    let mut definitions = Map::new();
    let limits = schema_of::<LimitsSection>("limits", &mut definitions);
    let sources: Vec<Value> = KINDS.iter().map(|kind| source_schema(kind, &mut definitions)).collect();
    let mut predictor = schema_of::<Spec>("predictor", &mut definitions);
    predictor["properties"]["algorithm"]["enum"] = ALGORITHMS.iter().map(|entry| entry.name).collect();
    let mut properties = json!({
        "name": {"type": "string", "pattern": "^[a-z][a-z0-9_]*$", "maxLength": 128, "description": "The project's name."},
        "lake": {"type": "string", "default": crate::config::LAKE_DEFAULT,
                 "description": "A folder, relative to this file, or s3://bucket/prefix."},
        "timezone": {"type": "string", "default": "UTC", "description": "A name such as America/Bogota: the times of the windows of sources are those of its clocks. SQL works in UTC."},
        "dialect": {"enum": ["datafusion"], "description": "The SQL of the models."},
        "null_tokens": {"type": ["array", "null"], "items": {"type": "string"},
                        "description": "Texts that mean null for null_tokens(), clean(), try_int() and the like, and for `lagar profile`, in place of the usual ones."},
        "limits": limits,
        "steps_table": {"type": ["string", "null"], "pattern": "^refined\\.[a-z][a-z0-9_]*$",
                        "description": "A table, such as refined.steps, that each run adds a row for each of its steps to."},
        "vars": {"type": "object", "propertyNames": {"pattern": "^[a-z][a-z0-9_]*$"},
                 "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
                 "description": "Values for ${vars.name}; --var name=value on the command line wins."},
        "sources": {"type": ["object", "null"], "propertyNames": {"pattern": "^[a-z][a-z0-9_]*$"},
                    "additionalProperties": {"oneOf": sources},
                    "description": "Read in SQL as raw.NAME."},
        "predictors": {"type": ["object", "null"], "propertyNames": {"pattern": "^[a-z][a-z0-9_]*$"},
                       "additionalProperties": predictor,
                       "description": "Asked in SQL with predict('NAME'), predict_proba('NAME') or forecast('NAME')."},
    });
    allow_variables(&mut properties);
    for definition in definitions.values_mut() {
        allow_variables(definition);
    }
    if let Value::Object(properties) = &mut properties {
        properties.insert(
            "profiles".to_owned(),
            json!({"type": "object", "additionalProperties": {"type": ["object", "null"]},
                   "description": "Keys that are laid over the others with --profile NAME."}),
        );
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "lagar.yaml",
        "type": "object",
        "required": ["name"],
        "additionalProperties": false,
        "properties": properties,
        "$defs": definitions,
    })
}

/// The schema of one kind of source: its own keys, the common ones, and its `type`.
fn source_schema(kind: &Kind, definitions: &mut Map<String, Value>) -> Value {
    let mut own = adopt(kind.name, (kind.schema)().to_value(), definitions);
    let common = schema_of::<CommonConfig>("source", definitions);
    let mut properties = Map::new();
    properties.insert("type".to_owned(), json!({"const": kind.name, "description": kind.summary}));
    for part in [&own, &common] {
        if let Some(Value::Object(more)) = part.get("properties") {
            properties.extend(more.clone());
        }
    }
    let mut required = vec![Value::from("type")];
    if let Some(Value::Array(more)) = own.get("required") {
        required.extend(more.clone());
    }
    if let Value::Object(own) = &mut own {
        own.insert("type".to_owned(), "object".into());
        own.insert("properties".to_owned(), properties.into());
        own.insert("required".to_owned(), required.into());
        own.insert("additionalProperties".to_owned(), false.into());
    }
    own
}

fn schema_of<T: JsonSchema>(owner: &str, definitions: &mut Map<String, Value>) -> Value {
    adopt(owner, schemars::schema_for!(T).to_value(), definitions)
}

/// Moves the definitions of `schema` to `definitions`, under names that those of others cannot have.
fn adopt(owner: &str, mut schema: Value, definitions: &mut Map<String, Value>) -> Value {
    tidy(owner, &mut schema);
    if let Value::Object(schema) = &mut schema {
        schema.shift_remove("$schema");
        schema.shift_remove("title");
        if let Some(Value::Object(own)) = schema.shift_remove("$defs") {
            definitions.extend(own.into_iter().map(|(name, value)| (format!("{owner}.{name}"), value)));
        }
    }
    schema
}

/// Follows the definitions to their new names, and leaves out the defaults that say nothing.
fn tidy(owner: &str, value: &mut Value) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(reference)) = map.get_mut("$ref")
                && let Some(name) = reference.strip_prefix("#/$defs/")
            {
                *reference = format!("#/$defs/{owner}.{name}");
            }
            if map.get("default") == Some(&Value::Null) {
                map.shift_remove("default");
            }
            map.values_mut().for_each(|value| tidy(owner, value));
        }
        Value::Array(list) => list.iter_mut().for_each(|value| tidy(owner, value)),
        _ => {}
    }
}

/// Where a number or a boolean is asked for, `${VARIABLE}` may stand too.
fn allow_variables(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(allow_variables);
            let asks = |kind: &Value| matches!(kind.as_str(), Some("integer" | "number" | "boolean"));
            let (is_scalar, takes_text) = match map.get("type") {
                Some(Value::Array(kinds)) => {
                    (kinds.iter().any(asks), kinds.iter().any(|kind| kind == "string"))
                }
                Some(kind) => (asks(kind), false),
                None => (false, false),
            };
            if is_scalar && !takes_text {
                let asked = Value::Object(std::mem::take(map));
                let variable = json!({"type": "string", "pattern": "^\\$\\{.+\\}$"});
                map.insert("anyOf".to_owned(), json!([asked, variable]));
            }
        }
        Value::Array(list) => list.iter_mut().for_each(allow_variables),
        _ => {}
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_to_a_definition() {
        fn references(value: &Value, into: &mut Vec<String>) {
            match value {
                Value::Object(map) => {
                    if let Some(Value::String(reference)) = map.get("$ref") {
                        into.push(reference.clone());
                    }
                    map.values().for_each(|value| references(value, into));
                }
                Value::Array(list) => list.iter().for_each(|value| references(value, into)),
                _ => {}
            }
        }
        let schema = project_schema();
        let mut found = Vec::new();
        references(&schema, &mut found);
        for reference in found {
            let name = reference.strip_prefix("#/$defs/").unwrap();
            assert!(schema["$defs"].get(name).is_some(), "{reference}");
        }
    }

    #[test]
    fn every_kind_of_source_is_there_with_the_common_keys() {
        let schema = project_schema();
        let sources = schema["properties"]["sources"]["additionalProperties"]["oneOf"].as_array().unwrap();
        let kinds: Vec<&str> =
            sources.iter().map(|s| s["properties"]["type"]["const"].as_str().unwrap()).collect();
        assert_eq!(kinds, KINDS.iter().map(|kind| kind.name).collect::<Vec<_>>());
        for source in sources {
            for key in crate::config::COMMON_KEYS {
                assert!(source["properties"].get(key).is_some(), "{key}");
            }
            assert_eq!(source["required"][0], "type");
        }
    }

    #[test]
    fn the_keys_are_those_that_are_read() {
        let schema = project_schema();
        let mut keys: Vec<&str> =
            schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        let mut read = crate::config::KEYS.to_vec();
        keys.sort_unstable();
        read.sort_unstable();
        assert_eq!(keys, read);
    }

    #[test]
    fn every_algorithm_can_be_chosen() {
        let schema = project_schema();
        let predictor = &schema["properties"]["predictors"]["additionalProperties"];
        let names = predictor["properties"]["algorithm"]["enum"].as_array().unwrap();
        assert!(
            names.iter().map(|name| name.as_str().unwrap()).eq(ALGORITHMS.iter().map(|entry| entry.name))
        );
    }

    #[test]
    fn a_variable_may_stand_for_a_number() {
        let schema = project_schema();
        let threads = &schema["properties"]["limits"]["properties"]["threads"];
        assert!(threads.to_string().contains(r"^\\$\\{.+\\}$"), "{threads}");
    }
}
