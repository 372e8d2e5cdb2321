//! As much of JSON Schema as the document uses: whether a value is as described, and values that are.
//!
//! The check is stricter than the standard: a field that is not described is a mistake, so that no answer says more than
//! the document.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::string::string_regex;
use serde_json::{Map, Value, json};

use super::document::followed;

/// What of a value is not as described; none if all is.
pub(super) fn mismatch(schema: &'static Value, value: &Value) -> Option<String> {
    let schema = followed(schema);
    if let Value::Object(fields) = value
        && let Some(known) = known_fields(schema)
        && let Some(unknown) = fields.keys().find(|field| !known.contains(field.as_str()))
    {
        return Some(format!("the field {unknown:?} is not described"));
    }
    part_mismatch(schema, value)
}

/// The same of a schema that may be only a part of what the value is described by.
fn part_mismatch(schema: &'static Value, value: &Value) -> Option<String> {
    let schema = followed(schema);
    let fields = schema.as_object()?;
    for (keyword, wanted) in fields {
        let wrong = match keyword.as_str() {
            "type" => (!is_of_type(wanted, value)).then(|| format!("{value:.80} is no {wanted}")),
            "enum" => {
                let words = wanted.as_array().expect("a list");
                (!words.contains(value)).then(|| format!("{value:.80} is none of {wanted}"))
            }
            "minimum" => {
                let is_less = value.as_f64().zip(wanted.as_f64()).is_some_and(|(is, least)| is < least);
                is_less.then(|| format!("{value} is less than {wanted}"))
            }
            "pattern" => value.as_str().and_then(|text| {
                let pattern = regex::Regex::new(wanted.as_str().expect("a pattern")).expect("it is one");
                (!pattern.is_match(text)).then(|| format!("{text:?} is not as {wanted}"))
            }),
            "required" => {
                let names = wanted.as_array().expect("a list").iter().filter_map(Value::as_str);
                let mut missing = names.filter(|name| value.get(name).is_none() && value.is_object());
                missing.next().map(|name| format!("there is no {name:?}"))
            }
            "properties" => wanted.as_object().expect("fields").iter().find_map(|(name, property)| {
                mismatch(property, value.get(name)?).map(|wrong| format!("{name}: {wrong}"))
            }),
            "additionalProperties" if wanted.is_object() && schema.get("properties").is_none() => {
                let fields = value.as_object().into_iter().flatten();
                fields
                    .into_iter()
                    .find_map(|(name, field)| mismatch(wanted, field).map(|wrong| format!("{name}: {wrong}")))
            }
            "items" if wanted.is_object() => {
                let items = value.as_array().into_iter().flatten();
                items
                    .enumerate()
                    .find_map(|(at, item)| mismatch(wanted, item).map(|wrong| format!("[{at}]: {wrong}")))
            }
            "prefixItems" => {
                let items =
                    wanted.as_array().expect("a list").iter().zip(value.as_array().into_iter().flatten());
                items.enumerate().find_map(|(at, (wanted, item))| {
                    mismatch(wanted, item).map(|wrong| format!("[{at}]: {wrong}"))
                })
            }
            "allOf" => wanted.as_array().expect("a list").iter().find_map(|part| part_mismatch(part, value)),
            "oneOf" | "anyOf" => {
                let forms = wanted.as_array().expect("a list");
                let wrong: Vec<String> = forms.iter().filter_map(|form| part_mismatch(form, value)).collect();
                (wrong.len() == forms.len()).then(|| wrong.join(", and "))
            }
            "description" | "format" | "default" | "items" | "additionalProperties" | "propertyNames" => None,
            other => panic!("the check does not know {other:?}: {schema}"),
        };
        if wrong.is_some() {
            return wrong;
        }
    }
    None
}

fn is_of_type(wanted: &Value, value: &Value) -> bool {
    match wanted {
        Value::Array(types) => types.iter().any(|one| is_of_type(one, value)),
        Value::String(kind) => match kind.as_str() {
            "null" => value.is_null(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_u64() || value.is_i64(),
            "number" => value.is_number(),
            "string" => value.is_string(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            other => panic!("there is no type {other:?}"),
        },
        other => panic!("{other} is no type"),
    }
}

/// The fields that an object may have; none if any.
fn known_fields(schema: &'static Value) -> Option<BTreeSet<&'static str>> {
    let schema = followed(schema);
    let parts: Vec<&Value> =
        ["allOf", "oneOf", "anyOf"].iter().filter_map(|how| schema[how].as_array()).flatten().collect();
    if parts.is_empty() {
        return Some(schema["properties"].as_object()?.keys().map(String::as_str).collect());
    }
    let objects = parts
        .into_iter()
        .filter(|part| followed(part)["type"] != "null" && followed(part)["type"] != "string");
    let mut known: BTreeSet<&str> =
        schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    for part in objects {
        known.extend(known_fields(part)?);
    }
    Some(known)
}

/// Values that are as described. `choose` may say otherwise of a field by its name.
pub(super) fn values(schema: &'static Value, choose: fn(&str) -> Option<Vec<Value>>) -> BoxedStrategy<Value> {
    let schema = followed(schema);
    if let Some(words) = schema["enum"].as_array() {
        return select(words.clone()).boxed();
    }
    if let Some(forms) = schema["oneOf"].as_array().or(schema["anyOf"].as_array()) {
        return proptest::strategy::Union::new(forms.iter().map(|form| values(form, choose))).boxed();
    }
    let types: Vec<&'static str> = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
        Value::String(one) => vec![one],
        _ => return select(vec![json!(null), json!(7), json!({"a": [1]})]).boxed(),
    };
    proptest::strategy::Union::new(types.into_iter().map(|kind| of_type(kind, schema, choose))).boxed()
}

fn of_type(
    kind: &str,
    schema: &'static Value,
    choose: fn(&str) -> Option<Vec<Value>>,
) -> BoxedStrategy<Value> {
    match kind {
        "null" => Just(Value::Null).boxed(),
        "boolean" => any::<bool>().prop_map(Value::from).boxed(),
        "integer" => {
            let edges = [0, 1, 2, 80, 255, 256, 65_535, 65_536, u64::from(u32::MAX), u64::MAX];
            prop_oneof![select(edges.to_vec()), 0..5_000_u64].prop_map(Value::from).boxed()
        }
        "number" => select(vec![json!(0), json!(0.5), json!(1e300), json!(-1)]).boxed(),
        "string" => match schema["pattern"].as_str() {
            Some(pattern) => string_regex(pattern.trim_start_matches('^').trim_end_matches('$'))
                .expect("a pattern")
                .prop_map(Value::from)
                .boxed(),
            None => texts().prop_map(Value::from).boxed(),
        },
        "array" => match schema["prefixItems"].as_array() {
            Some(items) => {
                let items: Vec<_> = items.iter().map(|item| values(item, choose)).collect();
                items.prop_map(Value::from).boxed()
            }
            None => proptest::collection::vec(values(&schema["items"], choose), 0..3)
                .prop_map(Value::from)
                .boxed(),
        },
        "object" => objects(schema, choose),
        other => panic!("there are no values of type {other:?}"),
    }
}

fn objects(schema: &'static Value, choose: fn(&str) -> Option<Vec<Value>>) -> BoxedStrategy<Value> {
    let Some(properties) = schema["properties"].as_object() else {
        return select(vec![json!({}), json!({"type": "note", "n": [1, {"a": null}]})]).boxed();
    };
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let fields: Vec<BoxedStrategy<Option<(String, Value)>>> = properties
        .iter()
        .map(|(name, property)| {
            let value = match choose(name) {
                Some(chosen) => select(chosen).boxed(),
                None => values(property, choose),
            };
            let name = name.clone();
            let field = value.prop_map(move |value| Some((name.clone(), value)));
            if required.contains(&json!(field_name(properties, property))) {
                field.boxed()
            } else {
                prop_oneof![field, Just(None)].boxed()
            }
        })
        .collect();
    fields.prop_map(|fields| Value::Object(fields.into_iter().flatten().collect::<Map<_, _>>())).boxed()
}

fn field_name(properties: &'static Map<String, Value>, property: &'static Value) -> &'static str {
    let found = properties.iter().find(|(_, other)| std::ptr::eq(*other, property));
    found.map(|(name, _)| name.as_str()).expect("it is one of them")
}

/// Texts of all kinds.
pub(super) fn texts() -> BoxedStrategy<String> {
    let known = [
        "a",
        "b",
        "",
        "..",
        "a/a",
        "-",
        "x y",
        "main",
        "HEAD",
        "a\u{0}b",
        "\u{1b}[2J",
        "\u{fffd}ß",
        "%1",
        "@1",
        "{target}",
    ];
    prop_oneof![
        4 => select(known.map(str::to_owned).to_vec()),
        1 => any::<String>(),
        1 => Just("x".repeat(5_000)),
    ]
    .boxed()
}
