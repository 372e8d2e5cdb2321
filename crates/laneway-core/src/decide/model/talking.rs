//! What comes of what programs say, case by case.

use super::tables::{decided, with_a_lane};
use super::*;
use crate::channel::{ChannelKind, ChannelProgress, Heard};
use crate::worker::WorkerStatus;

const RUN: RunId = RunId::from_ulid(Ulid(1));

/// A lane with a worker whose program has a channel.
fn talking() -> LaneFacts {
    let mut facts = with_a_lane(Lifecycle::Open);
    facts.workers[0].worker.channel = Some(ChannelKind::Jsonl);
    run_of(&mut facts).channel = Some(ChannelProgress::default());
    facts
}

fn run_of(facts: &mut LaneFacts) -> &mut Run {
    facts.workers[0].latest.as_mut().unwrap()
}

/// Decides, takes over what has changed, and gives the names of the events.
fn take(facts: &mut LaneFacts, command: &Command) -> Vec<&'static str> {
    let decision = decided(facts, command).unwrap();
    for change in decision.changes {
        match change {
            Change::UpdateRun { was, run } => {
                assert_eq!(was, run_of(facts).state.as_str());
                *run_of(facts) = run;
            }
            Change::UpdateWorker(worker) => facts.workers[0].worker = worker,
            other => panic!("{other:?}"),
        }
    }
    decision.events.iter().map(|(_, event)| event.name()).collect()
}

fn heard(first: u64, heard: &[Heard]) -> Command {
    Command::RecordHeard { run: RUN, first, heard: heard.to_vec() }
}

fn event() -> Heard {
    Heard::Event { name: "x".to_owned(), data: serde_json::Value::Null }
}

#[test]
fn what_is_told_twice_is_recorded_once_and_nothing_after_a_gap() {
    let mut facts = talking();
    let told = [Heard::Ready, event(), Heard::Unreadable, Heard::Pong];
    let run = run_of(&mut facts).clone();
    assert_eq!(facts.workers[0].worker.status(Some(&run)), WorkerStatus::Starting);
    assert_eq!(take(&mut facts, &heard(1, &told)), ["worker.ready", "worker.event"]);
    let channel = run_of(&mut facts).channel.clone().unwrap();
    assert_eq!((channel.taken, channel.n_unreadable, channel.ready_at), (4, 1, Some(Timestamp(9))));
    assert_eq!(take(&mut facts, &heard(1, &told)), [""; 0]);
    assert_eq!(take(&mut facts, &heard(6, &[event()])), [""; 0], "the fifth is missing");
    assert_eq!(run_of(&mut facts).channel.clone().unwrap().taken, 4);
    assert_eq!(
        take(&mut facts, &heard(3, &[event(), event(), Heard::Error(String::new())])),
        ["worker.error"]
    );
    run_of(&mut facts).state = RunState::Exited(Exit::Lost);
    assert_eq!(
        take(&mut facts, &heard(6, &[Heard::Ready, event()])),
        ["worker.event"],
        "also of one that is over"
    );
}

#[test]
fn a_closed_channel_is_told_of_a_program_that_lives_and_is_not_to_end() {
    let mut facts = talking();
    let closed = Command::RecordHeard { run: RUN, first: 1, heard: vec![Heard::Ready, Heard::Closed] };
    assert_eq!(take(&mut facts, &closed), ["worker.ready", "worker.channel.closed"]);
    assert_eq!(take(&mut facts, &closed), [""; 0], "once");
    for state in [RunState::Stopping(None), RunState::Exited(Exit::Lost)] {
        let mut facts = talking();
        run_of(&mut facts).state = state;
        assert_eq!(take(&mut facts, &closed), ["worker.ready"], "it is a part of its end");
    }
}

#[test]
fn who_does_not_answer_is_ended_and_has_failed_whatever_its_code() {
    for (policy, n_events) in [(RestartPolicy::Never, 1), (RestartPolicy::OnFailure, 2)] {
        let mut facts = talking();
        facts.workers[0].worker.restart = policy;
        let silent = Command::RecordUnresponsive { run: RUN, why: "silent".to_owned() };
        assert_eq!(take(&mut facts, &silent), ["worker.unhealthy"]);
        assert_eq!(take(&mut facts, &silent), [""; 0], "once");
        let exit = Exit::Code { code: 0 };
        let ended = Command::RecordExit { run: RUN, exit, at: Timestamp(9), pacing: Pacing::default() };
        let told = take(&mut facts, &ended);
        assert_eq!((told[0], told.len()), ("worker.exited", n_events), "{policy}");
        let RunState::Exited(exit) = &run_of(&mut facts).state else { panic!("it has ended") };
        assert_eq!(*exit, Exit::Unresponsive { reason: "silent".to_owned() });
    }
}

#[test]
fn a_stop_that_comes_while_one_is_ended_for_its_silence_is_a_stop() {
    let mut facts = talking();
    facts.workers[0].worker.restart = RestartPolicy::Always;
    take(&mut facts, &Command::RecordUnresponsive { run: RUN, why: "silent".to_owned() });
    let worker = facts.workers[0].worker.id;
    take(&mut facts, &Command::StopWorker { worker, grace_ms: 1 });
    let exit = Exit::Code { code: 0 };
    let ended =
        Command::RecordExit { run: RUN, exit: exit.clone(), at: Timestamp(9), pacing: Pacing::default() };
    assert_eq!(take(&mut facts, &ended), ["worker.exited"]);
    assert_eq!(run_of(&mut facts).state, RunState::Exited(exit));
}
