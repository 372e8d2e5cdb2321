//! What became of a run that has ended, as the daemon knows it: another may have begun since.

use laneway_api::request::AwaitExit;
use laneway_api::routes;
use laneway_api::view::{Explanation, WorkerView};
use laneway_core::id::{RunId, WorkerId};
use laneway_core::run::Exit;

use crate::client::Request;
use crate::context::Context;

/// What is asked next is to know that the program has ended. Without a daemon nobody can be asked, and the next one
/// records it. Gives the worker as it is then.
pub(super) fn until_recorded(worker: WorkerId, run: Option<RunId>, context: &Context) -> Option<WorkerView> {
    let path = routes::with_target(routes::WORKER_EXIT, &worker.to_string());
    let request = Request::get("waiting for the end to be recorded", path).query(&AwaitExit { run }).ok()?;
    // Quietly: the command's own output may stand on the line. It has ended as it did, whatever comes of this.
    context.client_of_running_daemon().and_then(|client| client.ask_quietly(&request)).ok()
}

/// How a run ended whose holder is gone, if another has begun since: what was asked for is not about that one.
pub(super) fn end_of_former(worker: WorkerId, run: Option<RunId>, context: &Context) -> Option<Exit> {
    if until_recorded(worker, run, context)?.run == run {
        return None;
    }
    let path = routes::with_target(routes::WORKER_EXPLANATION, &worker.to_string());
    let request = Request::get("looking up how it ended", path);
    let explanation: Explanation = context.client().ok()?.ask_quietly(&request).ok()?;
    explanation.runs.into_iter().find(|known| Some(known.id) == run)?.exit
}
