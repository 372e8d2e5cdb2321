//! A stop ends everything in the run's tree, and nothing else.

use std::time::{Duration, Instant};

use laneway_wire::message::{FromHolder, Program, Role};
use laneway_wire::{ByteVec, ToHolder};

use crate::support::{
    KilledAtEnd, TestRun, ends_within_limit, is_alive, launch, number_after, script, start, status_field,
};

const GRACE: Duration = Duration::from_millis(300);

/// The numbers that a script prints after these words.
fn numbers<const N: usize>(run: &TestRun, words: [&str; N]) -> [u32; N] {
    let mut viewer = run.attach(Role::Observer);
    words.map(|word| {
        viewer.until(word, |viewer| number_after(&[&viewer.snapshot[..], &viewer.pty].concat(), word))
    })
}

#[test]
fn a_stop_that_is_obeyed_is_over_at_once() {
    let mut run = start(launch(&["sleep", "1000"]));
    let before = Instant::now();
    assert!(run.stop(Duration::from_mins(1)).is_empty());
    assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());
    assert_eq!(run.wait_for_exit().signal, Some(15));
}

#[test]
fn what_ignores_signals_forks_and_detaches_is_gone() {
    // A child, a child in a session of its own, and one whose parents are all gone.
    let run = start(script(
        "trap '' TERM HUP; sh -c 'trap \"\" TERM HUP; echo child=$$\\;; while :; do sleep 1000; done' & \
         setsid sh -c 'trap \"\" TERM HUP; echo session=$$\\;; while :; do sleep 1000; done' & \
         (setsid sh -c 'trap \"\" TERM HUP; echo orphan=$$\\;; while :; do sleep 1000; done' &) & \
         while :; do sleep 1000; done",
    ));
    let pids = numbers(&run, ["child", "session", "orphan"]);
    assert!(pids.iter().all(|pid| is_alive(*pid)));
    assert!(run.stop(GRACE).is_empty());
    assert!(!pids.iter().any(|pid| is_alive(*pid)));
    assert_eq!(run.status().n_others, Some(0));
}

/// Stops a run beside whose program something forks without an end.
#[track_caller]
fn is_gone(storm: &str) {
    let run = start(script(&format!("trap '' TERM; {storm} & echo ready; while :; do sleep 1000; done")));
    run.attach(Role::Observer).until_shown("ready");
    let left = run.stop(Duration::from_millis(100));
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(run.status().n_others, Some(0));
}

#[test]
fn a_program_that_forks_as_fast_as_it_can_is_gone() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    // Each ends at once and leaves another one behind: in its own group, and in a session of its own. A minute of
    // that, should nobody be able to end it.
    for hop in ["sh", "setsid sh"] {
        let file = folder.path().join("hop");
        let script = format!("trap '' TERM HUP\n[ $1 -gt 50000 ] || {hop} \"$0\" $(($1 + 1)) &\n");
        std::fs::write(&file, script).unwrap();
        is_gone(&format!("sh {} 1", file.display()));
    }
}

/// Five hundred processes that do nothing, until it is dropped: what looks at every process of the machine is slow.
struct Crowd(std::process::Child);

impl Crowd {
    fn gather() -> Self {
        let script = "import os, signal, sys\nos.setsid()\n\
                      for _ in range(500):\n    if os.fork() == 0: signal.pause()\n\
                      print('here', flush=True)\nsignal.pause()\n";
        #[expect(clippy::disallowed_methods, reason = "it stands beside what is tested")]
        let mut python = std::process::Command::new("python3");
        python.args(["-c", script]).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null());
        let mut child = python.spawn().unwrap();
        let mut said = [0; 4];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut said).unwrap();
        Self(child)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        drop(self.0.wait());
    }
}

#[test]
fn many_that_fork_as_fast_as_they_can_and_leave_their_sessions_are_gone() {
    let _crowd = Crowd::gather();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = folder.path().join("storm.py");
    let storm = "import os, signal, time\nend = time.time() + 60\n\
                 for number in (signal.SIGTERM, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)\n\
                 for _ in range(30):\n    if os.fork() == 0: break\n\
                 while time.time() < end:\n    if os.fork(): os._exit(0)\n    os.setsid()\n";
    std::fs::write(&file, storm).unwrap();
    is_gone(&format!("python3 {}", file.display()));
}

#[test]
fn a_stopped_program_is_ended_too() {
    let mut run = start(script("echo ready; kill -STOP $$; echo on"));
    let program = run.started.program.pid;
    run.attach(Role::Observer).until_shown("ready");
    assert!(run.stop(Duration::from_mins(1)).is_empty());
    assert_eq!(run.wait_for_exit().signal, Some(15));
    assert!(!is_alive(program));
}

#[test]
fn the_whole_tree_has_the_grace() {
    let mut run = start(script(
        "sh -c 'trap \"\" HUP; trap \"sleep 0.3; echo child is done; exit\" TERM; echo ready; while :; do sleep 0.05; done' & \
         trap 'exit 0' TERM; wait",
    ));
    let mut viewer = run.attach(Role::Observer);
    viewer.until_shown("ready");
    assert!(run.stop(Duration::from_mins(1)).is_empty());
    assert_eq!(run.wait_for_exit().code, Some(0));
    viewer.until_shown("child is done");
}

#[test]
fn a_second_stop_shortens_the_grace() {
    let run = start(script("trap '' TERM; echo ready; while :; do sleep 1000; done"));
    run.attach(Role::Observer).until_shown("ready");
    let mut patient = run.connect();
    let tag = patient.send(&ToHolder::Stop { signal: None, grace_ms: 3_600_000 }).unwrap();
    assert!(matches!(patient.answer_to(tag).unwrap(), FromHolder::StopProgress { .. }));
    assert!(run.stop(GRACE).is_empty());
    loop {
        match patient.answer_to(tag).unwrap() {
            FromHolder::StopProgress { .. } => {}
            other => break assert_eq!(other, FromHolder::Stopped { left: vec![] }),
        }
    }
}

#[test]
fn a_stop_of_an_ended_run_says_at_once_that_nothing_is_left() {
    let mut run = start(launch(&["true"]));
    run.wait_for_exit();
    assert!(run.stop(Duration::from_mins(1)).is_empty());
}

#[test]
fn the_daemon_is_started_outside_the_tree_and_survives_the_stop() {
    let run = start(launch(&["sleep", "1000"]));
    let bytes = |text: &str| ByteVec::from(text.as_bytes().to_vec());
    let marker = format!("A_DAEMON_OF={}", run.holder_pid());
    let (name, value) = marker.split_once('=').unwrap();
    let program = Program {
        program: bytes("/bin/sleep"),
        argv: vec![bytes("sleep"), bytes("1000")],
        env: vec![(bytes(name), bytes(value))],
        cwd: bytes("/"),
    };
    let answer = run.connect().ask(&ToHolder::StartDaemon(program.clone())).unwrap();
    let FromHolder::DaemonStarted { pid } = answer else { panic!("not started: {answer:?}") };
    // Its parent is the holder's one: this process, which also has to end it.
    assert_eq!(status_field(pid, "PPid"), std::process::id().to_string());
    assert_eq!(std::fs::read_to_string(format!("/proc/{pid}/environ")).unwrap(), format!("{marker}\0"));
    let mut open: Vec<_> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
        // It may be loading its libraries still; those it opens itself.
        .filter(|path| !path.starts_with("/usr/lib") && !path.starts_with("/lib") && !path.starts_with("/etc"))
        .collect();
    open.dedup();
    assert_eq!(open, [std::path::Path::new("/dev/null")]);
    assert!(run.stop(GRACE).is_empty());
    assert!(is_alive(pid));
    let daemon = rustix::process::Pid::from_raw(pid as i32).unwrap();
    rustix::process::kill_process(daemon, rustix::process::Signal::KILL).unwrap();
    assert!(ends_within_limit(pid));
    rustix::process::waitpid(Some(daemon), rustix::process::WaitOptions::empty()).unwrap();
    let missing = Program { program: bytes("/no/such/daemon"), ..program };
    let answer = run.connect().ask(&ToHolder::StartDaemon(missing)).unwrap();
    assert!(matches!(answer, FromHolder::Refused { .. }));
}

#[test]
fn other_holders_and_the_daemon_are_left_alone_wherever_they_stand() {
    // Known by the names of their programs, and the daemon by its arguments.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    std::fs::copy("/bin/sleep", folder.path().join("lane-holder")).unwrap();
    std::fs::copy("/bin/sh", folder.path().join("lane")).unwrap();
    std::fs::write(folder.path().join("daemon"), "echo \"$1=$$;\"; read forever <fifo\n").unwrap();
    let mut run = start(script(&format!(
        "trap '' HUP; cd {}; mkfifo fifo; ./lane-holder 1000 & \
         until [ \"$(readlink /proc/$!/exe)\" = \"$PWD/lane-holder\" ]; do :; done; echo \"holder=$!;\"; \
         ./lane daemon serve & \
         ./lane daemon status & while :; do sleep 1000; done",
        folder.path().display(),
    )));
    let [holder, daemon, neither] = numbers(&run, ["holder", "serve", "status"]);
    let _ended = [holder, daemon].map(KilledAtEnd);
    assert!(run.stop(GRACE).is_empty());
    assert!(is_alive(holder) && is_alive(daemon) && !is_alive(neither));
    // They are not this run's, so its holder does not stay for them.
    run.wait_for_exit();
    run.acknowledge_and_leave();
}
