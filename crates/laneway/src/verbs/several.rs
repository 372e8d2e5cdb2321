//! One thing done to each of several targets: all at once, each reported, the worst exit code.

use laneway_api::error::{Problem, exit_code};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::Request;
use crate::context::{Context, Outcome};
use crate::failure::Failure;

/// `--json` for several targets. For one target it is the answer, or the error, itself.
#[derive(Debug, Serialize)]
struct Results<T> {
    results: Vec<OneResult<T>>,
}

#[derive(Debug, Serialize)]
struct OneResult<T> {
    target: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Problem>,
}

/// A problem left as the daemon told it.
pub(super) fn as_it_is(problem: Problem, _target: &str) -> Problem {
    problem
}

/// How the answers are put into one JSON document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// As the targets were typed: one is the answer, or the error, itself; of several there is a list.
    AsTyped,
    /// A list, however long: nobody has typed the targets.
    List,
}

/// Asks for each target what `request` makes of it; says the answers by `in_words` and the problems after
/// `explain` has had them.
pub(super) fn each<T: DeserializeOwned + Serialize>(
    context: &Context,
    (targets, shape): (&[String], Shape),
    request: impl Fn(&str) -> Result<Request, Failure>,
    in_words: impl Fn(&T) -> String,
    explain: impl Fn(Problem, &str) -> Problem,
) -> Outcome {
    let requests: Vec<Request> = targets.iter().map(|target| request(target)).collect::<Result<_, _>>()?;
    let mut results = Vec::with_capacity(targets.len());
    let mut worst = exit_code::OK;
    context.client()?.ask_each(&requests, |index, answer| {
        let target = &targets[index];
        let result = match answer {
            Ok(answer) => OneResult { target: target.clone(), answer: Some(answer), error: None },
            Err(Failure::Problem { problem, code }) => {
                worst = worst.max(code);
                let problem = explain(*problem, target);
                OneResult { target: target.clone(), answer: None, error: Some(problem) }
            }
            Err(output) => return Err(output),
        };
        if !context.json() {
            if let Some(answer) = &result.answer {
                context.printer.line(&in_words(answer))?;
            }
            if let Some(problem) = &result.error {
                context.printer.problem(problem)?;
            }
        }
        results.push(result);
        Ok(())
    })?;
    if context.json() {
        print(context, results, shape)?;
    }
    Ok(worst)
}

fn print<T: Serialize>(
    context: &Context,
    mut results: Vec<OneResult<T>>,
    shape: Shape,
) -> Result<(), Failure> {
    if shape == Shape::List || results.len() > 1 {
        return context.printer.json(&Results { results });
    }
    match results.pop() {
        Some(OneResult { answer: Some(answer), .. }) => context.printer.json(&answer),
        Some(OneResult { error: Some(problem), .. }) => context.printer.problem(&problem),
        Some(OneResult { answer: None, error: None, .. }) | None => Ok(()),
    }
}
