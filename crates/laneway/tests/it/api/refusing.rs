//! What no operation takes: each refuses it in our words, under the right status, and does nothing.

use std::collections::BTreeSet;

use laneway_testkit::TestEnvironment;
use serde_json::{Value, json};

use super::document::{Operation, followed, operations};
use super::door::{Answer, Door};
use crate::environment;
use crate::serving::Served;
use crate::support::Traces;

const JSON: &str = "content-type: application/json\r\n";

/// The longest body of JSON that is taken, in bytes.
const MAX_JSON: usize = 4 << 20;

fn here(world: &TestEnvironment) -> String {
    format!("{JSON}laneway-cwd: {}\r\n", world.repository.display())
}

/// Asserts that this was refused with a status that the document has, as an error that says one of these words.
#[track_caller]
fn is_refused(operation: Operation, answer: &Answer, what: &str, status: u16, says: &str) -> Value {
    let what = format!("{} {what}", operation.name());
    let error = answer.error(&what);
    assert_eq!(answer.status, status, "{what}: {error}");
    assert!(operation.answers(status), "{what}: {status} is not described");
    let message = error["message"].as_str().unwrap_or_default();
    assert!(message.contains(says), "{what}: {message:?} does not say {says:?}");
    error
}

/// Runs `refuse` for every operation on both doors; nothing may come of it.
fn of_every_operation(refuse: impl Fn(Operation, &Door<'_>, &str)) {
    let world = environment();
    world.lane(&["new", "a"]).ok();
    let served = Served::by(&world);
    let (daemon, before, seq) = (world.daemon_pid(), Traces::of(&world), world.last_seq());
    for door in [Door::Socket(&world), Door::Tcp(&served)] {
        for operation in operations() {
            refuse(operation, &door, &here(&world));
        }
    }
    assert_eq!((world.daemon_pid(), world.last_seq()), (daemon, seq));
    assert_eq!(Traces::of(&world), before);
}

#[test]
fn a_field_of_the_query_that_is_not_known_or_of_another_type_is_named() {
    of_every_operation(|operation, door, here| {
        let method = operation.method.to_uppercase();
        let path = operation.path_to("a");
        let body: &[u8] = if operation.json_body().is_some() { b"{}" } else { b"" };
        let answer = door.ask(&method, &format!("{path}?no_such_field=1"), here, body);
        is_refused(operation, &answer, "?no_such_field", 400, "no_such_field");
        for parameter in operation.parameters("query") {
            let types = match &parameter.schema["type"] {
                Value::Array(types) => types.clone(),
                one => vec![one.clone()],
            };
            if types.iter().all(|kind| kind == "string") && parameter.schema.get("enum").is_none() {
                continue;
            }
            // Beside what it needs, one that is of no type.
            let needed = operation.parameters("query").into_iter().filter(|other| other.required);
            let needed: Vec<String> = needed.map(|other| format!("&{}=running", other.name)).collect();
            let query = format!("{path}?{}=%5B%5D{}", parameter.name, needed.concat());
            let answer = door.ask(&method, &query, here, body);
            is_refused(operation, &answer, &query, 400, parameter.name);
        }
    });
}

#[test]
fn a_body_that_makes_no_sense_is_refused_by_every_operation() {
    let deep = ["[".repeat(100_000), "{\"a\":".repeat(100_000)];
    let huge = format!("{{\"no_such_field\":\"{}\"}}", "x".repeat(MAX_JSON));
    of_every_operation(|operation, door, here| {
        let method = operation.method.to_uppercase();
        let path = operation.path_to("a");
        let Some(schema) = operation.json_body() else {
            // Where nobody need be known, a body is not even read.
            let is_open = operation.described.get("security").is_some();
            if !operation.takes_octets() && !is_open {
                let answer = door.ask(&method, &path, here, b"{\"no_such_field\":1}");
                is_refused(operation, &answer, "a body where there is none", 400, "no body");
            }
            return;
        };
        for body in [
            &b""[..],
            b"null",
            b"[]",
            b"7",
            b"{",
            b"{}{}",
            b"\x00",
            b"{\"\xff\xfe\":1}",
            b"{\"a\":\"\\ud800\"}",
        ]
        .into_iter()
        .chain(deep.iter().map(String::as_bytes))
        {
            if body.is_empty() && !operation.needs_body() {
                continue;
            }
            let shown = String::from_utf8_lossy(&body[..body.len().min(20)]).into_owned();
            is_refused(operation, &door.ask(&method, &path, here, body), &shown, 400, "");
        }
        let answer = door.ask(&method, &path, here, huge.as_bytes());
        is_refused(operation, &answer, "a huge body", 413, "bytes");
        let not_json = here.replace("application/json", "text/plain");
        is_refused(operation, &door.ask(&method, &path, &not_json, b"{}"), "text", 415, "");
        let untold = here.replace(JSON, "");
        is_refused(operation, &door.ask(&method, &path, &untold, b"{}"), "untold", 415, "");
        if schema["additionalProperties"] == false {
            let answer = door.ask(&method, &path, here, b"{\"no_such_field\":1}");
            is_refused(operation, &answer, "no_such_field", 400, "no_such_field");
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            // No field is an array of arrays of nothing; and none has this for a word.
            let wrong = json!({ name.as_str(): [[[]]] });
            let answer = door.ask(&method, &path, here, wrong.to_string().as_bytes());
            is_refused(operation, &answer, &format!("{wrong} for {property}"), 400, name);
        }
        assert_eq!(followed(schema)["type"], "object", "{}", operation.name());
    });
}

#[test]
fn a_method_that_a_path_does_not_take_is_refused_with_those_that_it_does() {
    of_every_operation(|operation, door, here| {
        let taken = Operation::methods_of(&operation.path_to("a"));
        for method in ["get", "post", "put", "patch", "delete"] {
            if taken.contains(method) {
                continue;
            }
            let answer = door.ask(&method.to_uppercase(), &operation.path_to("a"), here, b"");
            let what = format!("{method} {}", operation.path);
            assert_eq!(
                (answer.status, &answer.error(&what)["code"]),
                (405, &json!("wrong_method")),
                "{what}"
            );
            let allowed = answer.header("allow").unwrap_or_default();
            let allowed: BTreeSet<&str> =
                allowed.split(',').map(str::trim).filter(|word| *word != "head").collect();
            assert_eq!(allowed, taken, "{what}");
        }
    });
}

#[test]
fn an_id_that_is_a_way_out_a_nothing_or_too_long_is_refused() {
    let long = "x".repeat(9_000);
    of_every_operation(|operation, door, here| {
        if !operation.path.contains('{') {
            return;
        }
        let method = operation.method.to_uppercase();
        let body: &[u8] = if operation.json_body().is_some() { b"{}" } else { b"" };
        let ids = [
            "..",
            ".",
            "%2e%2e",
            "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
            "..%2fa",
            "%00",
            "a%00",
            "%ff",
            "%2f",
            "%0a",
            long.as_str(),
        ];
        for id in ids {
            let answer = door.ask(&method, &operation.path_to(id), here, body);
            let what = format!("{} {:.40}", operation.name(), id);
            let error = answer.error(&what);
            assert!([400, 404, 409].contains(&answer.status), "{what}: {} {error}", answer.status);
        }
    });
}

#[test]
fn a_path_that_there_is_not_is_an_error_as_any_other() {
    let world = environment();
    let served = Served::by(&world);
    for door in [Door::Socket(&world), Door::Tcp(&served)] {
        for path in [
            "/api/",
            "/api/v1",
            "/api/v1/nothing",
            "/api/v2/lanes",
            "/api/v1/lanes/a/b/c",
            "/..",
            "/%00",
            "//",
        ] {
            for method in ["GET", "POST", "DELETE"] {
                let answer = door.ask(method, path, "", b"");
                let error = answer.error(path);
                assert_eq!(
                    (answer.status, &error["code"]),
                    (404, &json!("no_such_route")),
                    "{method} {path}"
                );
            }
        }
    }
}
