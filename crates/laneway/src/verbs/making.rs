//! What is answered in several steps: the output of each step of a setup is passed on as it comes.

use std::thread::JoinHandle;

use laneway_api::request::{InSteps, Making, SetupProgress};
use laneway_core::os_text::OsText;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::follow::{Wanted, follow};
use crate::client::Request;
use crate::context::Context;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::text::NAME;

/// Asks for something that may set a lane up, and waits for it. With JSON nothing is said meanwhile.
pub(super) fn ask<T: DeserializeOwned + Serialize>(
    request: Request,
    context: &Context,
) -> Result<T, Failure> {
    if context.json() {
        return context.client()?.ask(&request);
    }
    let progress = Progress::begin(request.doing());
    let request = request.query(&InSteps { progress: true })?;
    let mut end: Option<Result<T, Failure>> = None;
    let mut following: Option<JoinHandle<()>> = None;
    context.client()?.ask_in_steps(&request, |making: Making<T>| {
        // All that a step has said stands before what comes next.
        if let Some(before) = following.take() {
            drop(before.join());
        }
        match making {
            Making::Step(step) => {
                let SetupProgress { name, number, of, worker } = step;
                progress.now(&format!("{}: {name} ({number} of {of})", request.doing()));
                context.printer.note(&format!("setup {number}/{of}: {NAME}{name}{NAME:#}"));
                // A thread of its own: it waits for the holder, and may ask the daemon.
                let folder = context.cwd.clone();
                following = Some(std::thread::spawn(move || pass_on(&worker.to_string(), folder.as_ref())));
            }
            Making::Done(done) => end = Some(Ok(done)),
            Making::Error(problem) => end = Some(Err(problem.into())),
        }
        Ok(())
    })?;
    end.unwrap_or_else(|| Err(crate::client::answer_missing(&request)))
}

/// Passes on what a step says until it ends. What cannot be had is kept, and `lane logs` has it.
fn pass_on(worker: &str, folder: Option<&OsText>) {
    let wanted = Wanted { since: None, last: None, ansi: false, as_talk: true };
    drop(follow(worker, wanted, &Context::new(false, folder.map(OsText::as_path))));
}
