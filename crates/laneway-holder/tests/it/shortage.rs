//! A holder that is short of descriptors looks after its run all the same.

use std::time::Duration;

use laneway_wire::client::{self, Connection};
use laneway_wire::message::FromHolder;
use laneway_wire::{PROTOCOL_VERSION, ToHolder};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::support::{LIMIT, TestRun, bare_holder, launch, start, try_start_with};

/// A connection that has asked something and may wait for its answer.
fn ask(run: &TestRun) -> Connection {
    let mut connection = Connection::over(client::connect(run.folder.path(), LIMIT).unwrap());
    connection.set_read_limit(Some(LIMIT)).unwrap();
    connection.send(&ToHolder::Hello { protocol: PROTOCOL_VERSION, client: "test".to_owned() }).unwrap();
    connection
}

#[track_caller]
fn is_answered(connection: &mut Connection) {
    assert!(matches!(connection.answer_to(1).unwrap(), FromHolder::Hello { .. }));
}

/// Whether something comes within a time.
fn something_comes(connection: &Connection, limit: Duration) -> bool {
    let limit = Timespec::try_from(limit).unwrap();
    poll(&mut [PollFd::new(connection, PollFlags::IN)], Some(&limit)).unwrap() > 0
}

#[test]
fn a_holder_that_may_have_few_files_keeps_some_for_its_run() {
    let holder = bare_holder();
    let process = Pid::from_child(&holder.1);
    let few = Rlimit { current: Some(40), maximum: Some(40) };
    prlimit(Some(process), Resource::Nofile, few).unwrap();
    let run = try_start_with(holder, launch(&["sleep", "1000"]));
    let run = run.unwrap_or_else(|failed| panic!("not started: {:?}", failed.failure));
    let mut connections: Vec<_> = (0..30).map(|_| ask(&run)).collect();
    is_answered(&mut connections[0]);
    assert!(!something_comes(connections.last().unwrap(), Duration::from_millis(100)));
    // Everything that a run needs is there: it can be stopped with all of them connected.
    let mut first = connections.remove(0);
    let stop = first.send(&ToHolder::Stop { signal: None, grace_ms: 60_000 }).unwrap();
    let stopped = loop {
        match first.answer_to(stop).unwrap() {
            FromHolder::StopProgress { .. } => {}
            other => break other,
        }
    };
    assert_eq!(stopped, FromHolder::Stopped { left: vec![] });
    // Who has waited is let in when others leave.
    for mut connection in connections {
        is_answered(&mut connection);
    }
}

/// Processor time of a process so far, in clock ticks of 10 ms.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    // Of the fields as proc(5) numbers them, utime is 14 and stime 15; the first here is 3.
    [11, 12].map(|field| fields[field].parse::<u64>().unwrap()).iter().sum()
}

#[test]
fn a_run_whose_holder_cannot_look_at_it_is_stopped() {
    let mut run = start(launch(&["sleep", "1000"]));
    let mut inside = ask(&run);
    is_answered(&mut inside);
    let pid = run.holder_pid();
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() as u64;
    let none_left = Rlimit { current: Some(open), maximum: getrlimit(Resource::Nofile).maximum };
    prlimit(Some(Pid::from_raw(pid as i32).unwrap()), Resource::Nofile, none_left).unwrap();
    let stop = inside.send(&ToHolder::Stop { signal: None, grace_ms: 60_000 }).unwrap();
    assert!(matches!(inside.answer_to(stop).unwrap(), FromHolder::StopProgress { .. }));
    assert_eq!(inside.answer_to(stop).unwrap(), FromHolder::Stopped { left: vec![] });
    assert_eq!(run.wait_for_exit().signal, Some(15));
}

#[test]
fn a_holder_without_a_descriptor_for_who_knocks_waits_for_one() {
    let run = start(launch(&["sleep", "1000"]));
    let mut inside = ask(&run);
    is_answered(&mut inside);
    let pid = run.holder_pid();
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() as u64;
    let process = Some(Pid::from_raw(pid as i32).unwrap());
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = |current| prlimit(process, Resource::Nofile, Rlimit { current, maximum }).unwrap();
    limit(Some(open));
    let mut outside = ask(&run);
    let before = ticks(pid);
    // Long enough to tell a holder that looks again and again from one that waits.
    assert!(!something_comes(&outside, Duration::from_millis(800)));
    assert!(ticks(pid) - before < 10, "{} ticks", ticks(pid) - before);
    // Those inside are served meanwhile.
    let status = inside.send(&ToHolder::Status).unwrap();
    assert!(matches!(inside.answer_to(status).unwrap(), FromHolder::Status(_)));
    limit(Some(open + 8));
    is_answered(&mut outside);
    // And so is who knocks while another one leaves.
    limit(Some(open + 1));
    let mut next = ask(&run);
    assert!(!something_comes(&next, Duration::from_millis(50)));
    drop(outside);
    is_answered(&mut next);
}
