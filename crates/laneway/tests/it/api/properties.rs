//! Requests that follow from the document, right and wrong ones, for every operation and through both doors: what comes
//! back is one of the answers that are described, with a body as described, and the daemon lives on.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use serde_json::{Value, json};

use super::document::{Operation, Parameter, operations};
use super::door::{Answer, Door};
use super::schema::{mismatch, texts, values};
use crate::environment;
use crate::serving::Served;

/// Requests per operation and door.
const CASES: u32 = 12;

/// Failures that a request may well have: what was asked for was tried, and a program or git could not do it.
const TRIED: [&str; 4] = ["start_failed", "ended_at_once", "git_failed", "folder_gone"];

/// A request.
#[derive(Debug, Clone)]
struct Asked {
    target: String,
    query: Vec<(&'static str, Value)>,
    body: Option<Value>,
}

/// What is asked of fields whose values mean something outside of the daemon, or a wait without an end.
fn chosen(field: &str) -> Option<Vec<Value>> {
    Some(match field {
        "argv" => vec![
            json!(["true"]),
            json!(["sh", "-c", "exit 3"]),
            json!(["/nowhere/program"]),
            json!(["fake-agent", "wait"]),
        ],
        // In tmux would be a server of it.
        "terminal" => vec![json!({"kind": "pipes"}), json!({"kind": "pty", "columns": 80, "rows": 24})],
        // Where no folder can be made for it, and so no server of tmux.
        "socket" => vec![json!("/dev/null/socket"), json!("relative")],
        "environment" => vec![json!([]), json!([["PATH", std::env::var("PATH").unwrap_or_default()]])],
        "is" => vec![
            json!("starting,running,stopping,stopped,backoff,failed"),
            json!("running,nonsense"),
            json!(""),
        ],
        "follow" => vec![json!(false)],
        _ => return None,
    })
}

fn requests(operation: Operation) -> BoxedStrategy<Asked> {
    let target = prop_oneof![
        3 => Just("a".to_owned()),
        1 => Just("wk_01ARZ3NDEKTSV4RRFFQ69G5FAV".to_owned()),
        2 => texts(),
    ];
    let query: Vec<_> = operation.parameters("query").into_iter().map(field_of_query).collect();
    let body = match operation.json_body() {
        Some(schema) => {
            let right = values(schema, chosen);
            prop_oneof![3 => right.clone(), 1 => spoiled(right)].prop_map(Some).boxed()
        }
        None => Just(None).boxed(),
    };
    (target, query, body)
        .prop_map(|(target, query, body)| Asked {
            target,
            query: query.into_iter().flatten().collect(),
            body,
        })
        .boxed()
}

fn field_of_query(parameter: Parameter) -> BoxedStrategy<Option<(&'static str, Value)>> {
    let right = match chosen(parameter.name) {
        Some(chosen) => select(chosen).boxed(),
        None => values(parameter.schema, chosen),
    };
    let wrong = select(vec![json!("nonsense"), json!(-1), json!("1e3"), json!("")]);
    let field = if parameter.name == "follow" { right } else { prop_oneof![4 => right, 1 => wrong].boxed() };
    let field = field.prop_map(move |value| Some((parameter.name, value)));
    if parameter.required { field.boxed() } else { prop_oneof![field, Just(None)].boxed() }
}

/// Bodies with one mistake.
fn spoiled(right: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    let wrong =
        select(vec![json!(null), json!(-1), json!(1.5), json!([]), json!({}), json!("x"), json!([[{}]])]);
    (right, wrong, any::<prop::sample::Index>(), 0..3)
        .prop_map(|(mut body, wrong, at, how)| {
            let Some(fields) = body.as_object_mut().filter(|fields| !fields.is_empty()) else { return wrong };
            let name = fields.keys().nth(at.index(fields.len())).cloned().expect("it is within");
            match how {
                0 => drop(fields.insert(name, wrong)),
                1 => drop(fields.remove(&name)),
                _ => drop(fields.insert("no_such_field".to_owned(), wrong)),
            }
            body
        })
        .boxed()
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(
            |byte| {
                if byte.is_ascii_alphanumeric() {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            },
        )
        .collect()
}

fn ask(operation: Operation, door: &Door<'_>, folder: &str, asked: &Asked) -> Answer {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let query: Vec<String> =
        asked.query.iter().map(|(name, value)| format!("{name}={}", encoded(&text(value)))).collect();
    // An empty segment, or one of dots only, would be another path.
    let target = if asked.target.is_empty() { "%20".to_owned() } else { encoded(&asked.target) };
    let path = format!("{}?{}", operation.path_to(&target), query.join("&"));
    let octets = operation.takes_octets().then(|| b"x".to_vec());
    let kind = if octets.is_some() { "application/octet-stream" } else { "application/json" };
    let body = octets.or(asked.body.as_ref().map(|body| body.to_string().into_bytes())).unwrap_or_default();
    let headers = format!("content-type: {kind}\r\nlaneway-cwd: {}\r\n", encoded(folder));
    door.ask(&operation.method.to_uppercase(), &path, &headers, &body)
}

/// Whether an answer is one that is described.
fn fits(operation: Operation, answer: &Answer) -> Result<(), String> {
    let said = String::from_utf8_lossy(&answer.body).into_owned();
    let described = &operation.described["responses"][answer.status.to_string()];
    if described.is_null() {
        return Err(format!("{} is not described: {said:.300}", answer.status));
    }
    let described = super::document::followed(described);
    let kind = answer.header("content-type").unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().to_owned();
    let Some(content) = described["content"].get(&kind) else {
        return Err(format!("{} with {kind:?} is not described: {said:.300}", answer.status));
    };
    let schema = &content["schema"];
    let lines: Vec<&str> = match kind.as_str() {
        "application/json" => vec![said.as_str()],
        "application/x-ndjson" => said.lines().collect(),
        _ => return Ok(()),
    };
    for line in lines {
        let value = serde_json::from_str(line).map_err(|error| format!("{line:.300}: {error}"))?;
        if let Some(wrong) = mismatch(schema, &value) {
            return Err(format!("{}: {wrong}: {line:.2000}", answer.status));
        }
    }
    if answer.status == 500 {
        let code = serde_json::from_str::<Value>(&said).unwrap_or_default()["error"]["code"].clone();
        if !TRIED.iter().any(|tried| code == *tried) {
            return Err(format!("500: {said:.600}"));
        }
    }
    Ok(())
}

/// Asks for what follows from the document through one door.
fn is_as_described(door: &Door<'_>, folder: &str, leave_out: &[&str]) {
    let mut wrong = Vec::new();
    for operation in operations() {
        if leave_out.contains(&operation.id()) {
            continue;
        }
        let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
        let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let mut runner = TestRunner::new_with_rng(config, rng);
        let asked = runner.run(&requests(operation), |asked| {
            let answer = ask(operation, door, folder, &asked);
            fits(operation, &answer).map_err(TestCaseError::fail)
        });
        if let Err(error) = asked {
            wrong.push(format!("{}: {error}", operation.name()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn what_follows_from_the_document_is_answered_as_it_says() {
    let world = environment();
    world.start("a", &["fake-agent", "ready", "wait"]);
    let served = Served::by(&world);
    let daemon = world.daemon_pid();
    let folder = world.repository.to_str().expect("tests run below a path that is text").to_owned();
    // What a person may say on the socket would end the daemon, or the other door.
    is_as_described(&Door::Tcp(&served), &folder, &["stop_daemon"]);
    is_as_described(&Door::Socket(&world), &folder, &["stop_daemon", "start_serving", "stop_serving"]);
    assert_eq!(world.daemon_pid(), daemon);
    world.lane(&["stop", "--all"]).ok();
}
