//! The part of JSON Schema 2020-12 that `schema/result.schema.json` uses.

use serde_json::Value;

/// Everything that is wrong, each with its place.
pub fn violations(schema: &Value, value: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    check(schema, schema, value, "result", &mut wrong);
    wrong
}

fn check(root: &Value, schema: &Value, value: &Value, at: &str, wrong: &mut Vec<String>) {
    let rules = schema.as_object().expect("a schema is an object");
    for (rule, expected) in rules {
        let holds = match rule.as_str() {
            "$schema" | "$id" | "$defs" | "title" | "description" | "required" => true,
            "$ref" => {
                let pointer = expected.as_str().expect("text").trim_start_matches('#');
                check(root, root.pointer(pointer).expect("a definition"), value, at, wrong);
                true
            }
            "const" => value == expected,
            "enum" => expected.as_array().expect("a list").contains(value),
            "type" => is_of(expected, value),
            "minimum" => value.as_f64().is_none_or(|v| v >= expected.as_f64().expect("a number")),
            "maximum" => value.as_f64().is_none_or(|v| v <= expected.as_f64().expect("a number")),
            "minItems" => {
                value.as_array().is_none_or(|v| v.len() as u64 >= expected.as_u64().expect("a count"))
            }
            "maxItems" => {
                value.as_array().is_none_or(|v| v.len() as u64 <= expected.as_u64().expect("a count"))
            }
            "anyOf" => expected.as_array().expect("a list").iter().any(|one| {
                let mut found = Vec::new();
                check(root, one, value, at, &mut found);
                found.is_empty()
            }),
            "items" => {
                for (place, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(root, expected, item, &format!("{at}[{place}]"), wrong);
                }
                true
            }
            "propertyNames" => {
                assert_eq!(expected["pattern"], "^[A-Z_]+$", "the only pattern that is understood");
                let name = |name: &String| name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
                value.as_object().is_none_or(|object| object.keys().all(name))
            }
            "properties" | "additionalProperties" => true,
            other => panic!("{other}: this rule is not understood"),
        };
        if !holds {
            wrong.push(format!("{at}: {rule} {expected}"));
        }
    }
    if let Some(object) = value.as_object() {
        members(root, schema, object, at, wrong);
    }
}

fn members(
    root: &Value,
    schema: &Value,
    object: &serde_json::Map<String, Value>,
    at: &str,
    wrong: &mut Vec<String>,
) {
    for name in schema["required"].as_array().into_iter().flatten() {
        if !object.contains_key(name.as_str().expect("a name")) {
            wrong.push(format!("{at}: {name} is missing"));
        }
    }
    for (name, member) in object {
        let at = format!("{at}.{name}");
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, Value::Bool(false)) => wrong.push(format!("{at}: is not in the schema")),
            (Value::Null, Value::Object(_)) => {
                check(root, &schema["additionalProperties"], member, &at, wrong);
            }
            (Value::Null, _) => {}
            (property, _) => check(root, property, member, &at, wrong),
        }
    }
}

fn is_of(expected: &Value, value: &Value) -> bool {
    let one = |name: &Value| match name.as_str().expect("the name of a type") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        other => panic!("{other}: this type is not understood"),
    };
    expected.as_array().map_or_else(|| one(expected), |types| types.iter().any(one))
}
