//! Limits: a run is ended when it has reached one, also while nobody is connected to its holder.

use laneway_wire::message::{Channel, ChannelKind, Launch, Limit, RunLimits};
use laneway_wire::record::{self, RecordState};
use laneway_wire::{ByteVec, RECORD_NAME};

use crate::support::{TestRun, launch, owned_pipes, script, start};

fn limited(wall_ms: Option<u64>, idle_ms: Option<u64>, launch: Launch) -> Launch {
    Launch { run_limits: Some(RunLimits { wall_ms, idle_ms }), ..launch }
}

/// The limit that a run is ended at, as its watcher is told and as its record has it.
fn limit_of(run: &mut TestRun) -> Option<Limit> {
    let exited = run.wait_for_exit();
    let recorded = record::read(&run.folder.path().join(RECORD_NAME)).unwrap();
    let RecordState::Exited { limit, .. } = recorded.state else { panic!("{recorded:?}") };
    assert_eq!(limit, exited.limit);
    limit
}

#[test]
fn a_run_that_takes_too_long_is_ended_with_all_that_it_has_started() {
    let mut run = start(limited(Some(300), None, script("sleep 1000 & exec sleep 1000")));
    assert_eq!(limit_of(&mut run), Some(Limit::Wall));
    // It leaves only when nothing of the tree is alive.
    run.acknowledge_and_leave();
}

#[test]
fn a_run_that_is_silent_for_too_long_is_ended_and_one_that_writes_now_and_then_is_not() {
    let mut silent = start(limited(Some(60_000), Some(300), script("echo hello; exec sleep 1000")));
    assert_eq!(limit_of(&mut silent), Some(Limit::Idle));
    let writes = script("while :; do echo x; sleep 0.1; done");
    let mut talkative = start(limited(Some(1_500), Some(800), writes));
    assert_eq!(limit_of(&mut talkative), Some(Limit::Wall));
}

#[test]
fn a_run_that_ends_before_its_limits_has_ended_by_itself() {
    let mut run = start(limited(Some(60_000), Some(60_000), script("exit 3")));
    assert_eq!(limit_of(&mut run), None);
    assert_eq!(run.status().exited.unwrap().code, Some(3));
}

#[test]
fn a_program_whose_output_nobody_takes_is_not_idle() {
    let writes = launch(&["cat", "/dev/zero"]);
    let mut run = start(limited(Some(1_500), Some(300), owned_pipes(writes)));
    assert_eq!(limit_of(&mut run), Some(Limit::Wall));
}

#[test]
fn messages_are_signs_of_life_and_answers_to_pings_are_none() {
    let says = |what: &str| {
        let text = format!(
            "import os, time\nchannel = int(os.environ['LANEWAY_CHANNEL_FD'])\n\
             while True:\n  os.write(channel, b'{what}\\n')\n  time.sleep(0.1)\n"
        );
        let channel = Channel {
            kind: ChannelKind::JsonLines,
            greeting: Vec::new(),
            farewell: ByteVec::from(br#"{"type":"shutdown"}"#.to_vec()),
        };
        let launch = Launch { channel: Some(channel), ..launch(&["python3", "-c", &text]) };
        limit_of(&mut start(limited(Some(2_500), Some(1_000), launch)))
    };
    assert_eq!(says(r#"{"type": "tick"}"#), Some(Limit::Wall));
    assert_eq!(says(r#"{"type": "pong"}"#), Some(Limit::Idle));
}
