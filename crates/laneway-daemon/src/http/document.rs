//! The description of this API, made from the handlers: as an `OpenAPI` 3.1 document, and as a page.
//!
//! A handler says what is its own: path, query, body, good answers, and refusals that not every route has. What all
//! routes have in common, because something in front of the handlers does it, is added here.

mod page;

use std::collections::BTreeMap;

use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use laneway_api::error::ErrorBody;
use laneway_api::routes;
use serde_json::{Map, Value, json};
use utoipa::openapi::{Ref, RefOr, Response as Described};
use utoipa::{IntoParams, IntoResponses, PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use super::repeats;

/// What stands in front of the operations.
const ABOUT: &str = "\
Lanes, the programs in them, and all that happens, as `lane` itself asks for it. On the unix socket the system says who \
asks; over TCP a token does. Fields that are not known are refused, in bodies and in queries.";

/// The answers that are errors: status, name, when it is given.
const ERRORS: [(u16, &str, &str); 12] = [
    (400, "BadRequest", "The request makes no sense."),
    (401, "NoToken", "Over TCP: no token that is known."),
    (403, "Stranger", "Another user, or over TCP another host or a page of another origin."),
    (404, "NotFound", "What was named is not there."),
    (
        409,
        "Refused",
        "It would lose work, the state does not allow it, or what was named can mean several things.",
    ),
    (413, "TooLong", "The body is too long."),
    (415, "WrongType", "The body is not said to be JSON."),
    (422, "NotRunnable", "The program is not there, or cannot be run."),
    (426, "DaemonOlder", "The client is newer than the daemon, which has to execute itself anew first."),
    (500, "Failed", "It was tried and failed."),
    (503, "Unreachable", "Something that is needed does not answer, or the daemon is ending."),
    (504, "TimedOut", "It took longer than it was given."),
];

/// Part of a path: what a person would type.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it only describes")]
pub(super) struct TargetPath {
    /// A lane or worker: its id, its name, `LANE/WORKER`, or another way to say it. Percent-encoded; a `/` in it is `%2F`.
    target: String,
}

/// Part of a path: a token.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it only describes")]
pub(super) struct TokenPath {
    /// The name of a token.
    target: String,
}

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = $statuses:expr;)*) => {$(
        $(#[$doc])*
        pub(super) struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Described>> {
                referred(&$statuses)
            }
        }
    )*};
}

refusals! {
    /// Refusals of what looks something up that is not in the path.
    NotFound = [404];
    /// Refusals of what only reads, and needs a state for that.
    Refused = [409];
    /// Refusals of what waits for programs.
    TimesOut = [504];
    /// Refusals of what starts programs.
    Starts = [422, 504];
}

fn referred(statuses: &[u16]) -> BTreeMap<String, RefOr<Described>> {
    let refer = |status: &u16| (status.to_string(), RefOr::Ref(Ref::from_response_name(name_of(*status))));
    statuses.iter().map(refer).collect()
}

fn name_of(status: u16) -> &'static str {
    ERRORS.iter().find(|(known, ..)| *known == status).map_or("Failed", |(_, name, _)| name)
}

/// The `OpenAPI` document, as one line of JSON.
#[utoipa::path(
    get,
    path = routes::OPENAPI,
    operation_id = "show_openapi",
    tag = "api",
    responses((status = 200, body = Object, description = "an OpenAPI 3.1 document")),
)]
pub(super) async fn show() -> Response {
    axum::Json(document()).into_response()
}

/// A page that shows the API.
#[utoipa::path(
    get,
    path = routes::API_PAGE,
    operation_id = "show_api",
    tag = "api",
    responses((status = 200, body = String, content_type = "text/html", description = "a page for people")),
)]
pub(super) async fn page() -> Response {
    let (page, policy) = page::of(&document());
    ([(CONTENT_TYPE, "text/html; charset=utf-8".to_owned()), (CONTENT_SECURITY_POLICY, policy)], page)
        .into_response()
}

/// What this API is, by its handlers.
pub(crate) fn document() -> Value {
    let (_, described) = OpenApiRouter::new().merge(super::asked()).merge(super::open()).split_for_parts();
    let mut document = serde_json::to_value(described).expect("a description is made of strings and numbers");
    document["info"] = json!({ "title": "Laneway", "version": "1", "description": ABOUT });
    document["security"] = json!([{ "bearer": [] }]);
    let components = &mut document["components"];
    components["securitySchemes"] = json!({ "bearer": {
        "type": "http", "scheme": "bearer", "description": "Over TCP: what `lane token create` shows, once.",
    } });
    add_errors(components);
    components["parameters"] = headers();
    for (path, item) in document["paths"].as_object_mut().into_iter().flatten() {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            add_common(path, method, operation);
        }
    }
    simplify(&mut document);
    document
}

/// The answers that are errors, and the schema of their body.
fn add_errors(components: &mut Value) {
    let mut schemas = vec![(ErrorBody::name().into_owned(), ErrorBody::schema())];
    ErrorBody::schemas(&mut schemas);
    for (name, schema) in schemas {
        components["schemas"][name] = serde_json::to_value(schema).expect("a schema is JSON");
    }
    let content = json!({ "application/json": { "schema": { "$ref": "#/components/schemas/ErrorBody" } } });
    let answers = ERRORS
        .iter()
        .map(|(_, name, when)| ((*name).to_owned(), json!({ "description": when, "content": content })));
    components["responses"] = answers.collect::<Map<_, _>>().into();
}

/// The headers that are read of many requests.
fn headers() -> Value {
    let text = json!({ "type": "string" });
    json!({
        "Folder": {
            "name": routes::CWD_HEADER, "in": "header", "schema": text,
            "description": "The folder that the caller stands in, percent-encoded: names are looked up in its repository.",
        },
        "Key": {
            "name": repeats::KEY.as_str(), "in": "header",
            "schema": { "type": "string", "pattern": "^[!-~]{1,128}$" },
            "description": "Made up by the client: the same request with the same key is done once within 24 hours.",
        },
    })
}

/// Adds what a path names of programs and instances; those of the first program are operations of their own.
fn add_program(path: &str, operation: &mut Value) {
    let mut named = Vec::new();
    if path.contains("{program}") {
        let about = "The name of a program in `laneway.toml`, percent-encoded.";
        named.push(json!({ "name": "program", "in": "path", "required": true, "description": about,
            "schema": { "type": "string" } }));
    } else if let Some(id) = operation["operationId"].as_str().map(|id| format!("{id}_of_first_program")) {
        operation["operationId"] = id.into();
    }
    if path.contains("{id}") {
        named.push(json!({ "name": "id", "in": "path", "required": true, "description": "The instance.",
            "schema": { "type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$" } }));
    }
    match operation["parameters"].as_array_mut() {
        Some(parameters) => parameters.extend(named),
        None => operation["parameters"] = named.into(),
    }
}

/// Adds what is done in front of every handler.
fn add_common(path: &str, method: &str, operation: &mut Value) {
    let is_below_a_program =
        path.starts_with(&format!("{}/", routes::PROGRAMS)) || path.starts_with(routes::FIRST_PROGRAM);
    let is_of_programs = is_below_a_program || path == routes::PROGRAMS;
    if is_below_a_program {
        add_program(path, operation);
    }
    let is_open = operation.get("security").is_some();
    let has_body = operation.get("requestBody").is_some();
    let is_post = method == "post";
    let keeps_key = is_post && ![routes::TOKENS, routes::WEB, routes::DAEMON_RESTART].contains(&path);
    let mut statuses = vec![400, 403];
    if !is_open {
        statuses.push(401);
        statuses.push(500);
    }
    if path.starts_with("/api/v1/") || path.starts_with("/ws") {
        statuses.push(503);
    }
    if !is_open && ![routes::METRICS, routes::DAEMON_RESTART].contains(&path) {
        statuses.push(426);
    }
    if is_of_programs {
        statuses.extend([503, 504]);
    }
    if path.contains('{') || is_below_a_program {
        statuses.extend([404, 409]);
    }
    if is_post {
        statuses.extend([409, 413]);
    }
    if has_body && operation["requestBody"]["content"].get("application/json").is_some() {
        statuses.push(415);
    }
    if has_body {
        tell_octets(&mut operation["requestBody"]);
    }
    // A good answer that nothing else is said of is what was asked for.
    let summary = operation["summary"].clone();
    for answer in operation["responses"].as_object_mut().into_iter().flat_map(Map::values_mut) {
        if answer.get("$ref").is_none() && answer.get("description").is_none() {
            answer["description"] = summary.clone();
        }
        tell_octets(answer);
    }
    for (status, answer) in referred(&statuses) {
        let answers = operation["responses"].as_object_mut().expect("every operation has answers");
        answers.entry(status).or_insert_with(|| serde_json::to_value(answer).expect("a reference is JSON"));
    }
    let reads_folder = path.starts_with("/api/v1/") || path.contains('{') || is_of_programs;
    let names = [("Folder", reads_folder), ("Key", keeps_key)];
    for (name, _) in names.into_iter().filter(|(_, is_read)| *is_read) {
        let reference = json!({ "$ref": format!("#/components/parameters/{name}") });
        match operation["parameters"].as_array_mut() {
            Some(parameters) => parameters.push(reference),
            None => operation["parameters"] = json!([reference]),
        }
    }
}

/// Octets are no array of numbers.
fn tell_octets(described: &mut Value) {
    if let Some(content) = described.pointer_mut("/content/application~1octet-stream") {
        content["schema"] = json!({ "type": "string", "format": "binary" });
    }
}

/// Descriptions come from comments in the code: links in them lead nowhere here.
fn simplify(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(text) if ["description", "summary"].contains(&name.as_str()) => {
                        *text = without_links(text);
                    }
                    _ => simplify(field),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(simplify),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// ``[`crate::view::LaneView`]`` becomes `` `LaneView` ``.
fn without_links(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, link)) = rest.split_once("[`") {
        let Some((path, after)) = link.split_once("`]") else { break };
        plain.push_str(before);
        let name = path.rsplit("::").next().unwrap_or(path);
        plain.extend(["`", name, "`"]);
        rest = after;
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The copy that is kept, which `cargo xtask codegen` writes.
    const KEPT: &str = include_str!("../../../../docs/openapi.json");

    #[test]
    fn the_copy_that_is_kept_is_what_the_handlers_say() {
        let kept: Value = serde_json::from_str(KEPT).unwrap();
        let document = document();
        for (path, item) in document["paths"].as_object().unwrap() {
            assert!(&kept["paths"][path] == item, "{path} has changed: run cargo xtask codegen");
        }
        assert!(kept == document, "docs/openapi.json is not current: run cargo xtask codegen");
    }

    #[test]
    fn every_operation_has_an_id_of_its_own_and_all_that_is_referred_to_is_there() {
        let document = document();
        let mut ids = std::collections::BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let id = operation["operationId"].as_str().unwrap_or_default();
                assert!(!id.is_empty() && ids.insert(id.to_owned()), "{method} {path}: {id:?}");
                assert_eq!(operation["tags"].as_array().map(Vec::len), Some(1), "{method} {path}");
                assert!(operation["summary"].is_string(), "{method} {path}");
            }
        }
        let mut references = Vec::new();
        collect_references(&document, &mut references);
        assert!(references.len() > 100);
        for reference in references {
            assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
        }
    }

    fn collect_references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|field| collect_references(field, found));
            }
            Value::Array(items) => items.iter().for_each(|item| collect_references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn links_of_the_code_are_plain_names() {
        assert_eq!(without_links("a [`crate::x::Y`] and [`Z`]; [`w"), "a `Y` and `Z`; [`w");
    }
}
