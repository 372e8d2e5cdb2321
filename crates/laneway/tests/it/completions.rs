//! What tab brings: in real shells, and with daemons that hang, refuse or are not there.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use laneway_testkit::process::{self, finish};
use laneway_testkit::pty::Window;
use laneway_testkit::{Finished, TestEnvironment};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, listen, socket};
use rustix::process::Signal;

use crate::environment;

/// More than a person waits, and less than any limit of a command that needs an answer.
const SOON: Duration = Duration::from_secs(3);

/// Asks as bash does for the last of these words.
#[track_caller]
fn ask(world: &TestEnvironment, words: &[&str]) -> Finished {
    let mut command = world.lane_command(&["--", "lane"]);
    command.args(words).env("LANEWAY_COMPLETE", "bash");
    command.env("_CLAP_IFS", "\n").env("_CLAP_COMPLETE_INDEX", words.len().to_string());
    let finished = finish(&mut command, b"").ok();
    assert_eq!(finished.err(), "", "a prompt must not be written over");
    finished
}

/// What is offered beside options, which come where nothing else does.
#[track_caller]
fn check(world: &TestEnvironment, words: &[&str], expected: &[&str]) {
    let said = ask(world, words).out();
    let names: Vec<_> = said.lines().filter(|line| !line.starts_with("--")).collect();
    assert_eq!(names, expected, "{words:?}");
    assert!(names.is_empty() || names.len() == said.lines().count(), "options among the names: {said}");
}

/// Two lanes: `fix` with a worker of its name, `docs` with two that run and one that has ended.
#[track_caller]
fn two_lanes() -> TestEnvironment {
    let world = environment();
    world.start("fix", &["fake-agent", "ready", "wait"]);
    let _ = world.lane(&["new", "docs"]).ok();
    for name in ["edit", "serve", "done"] {
        let _ = world.lane(&["run", "docs", "--name", name, "--", "fake-agent", "ready", "wait"]).ok();
    }
    let _ = world.lane(&["stop", "done"]).ok();
    world
}

#[test]
fn each_place_is_offered_what_is_legal_there() {
    let world = two_lanes();
    check(&world, &["attach", "f"], &["fix"]);
    check(&world, &["attach", ""], &["edit", "fix", "serve"]);
    check(&world, &["attach", "docs/"], &["docs/edit", "docs/serve"]);
    check(&world, &["close", ""], &["docs", "fix"]);
    check(&world, &["replay", "d"], &["done"]);
    fs::write(world.repository.join("demo.cast"), "").unwrap();
    check(&world, &["replay", "./d"], &["./demo.cast"]);
    check(&world, &["close", "fix", "d"], &["docs"]);
    check(&world, &["run", ""], &["docs", "fix"]);
    check(&world, &["path", "x"], &[]);
    check(&world, &["read", "d"], &["done"]);
    check(&world, &["show", "d"], &["docs", "done"]);
    check(&world, &["stop", "edit", "s"], &["serve"]);
    check(&world, &["send", "fix", "--key", "pa"], &["page-down", "page-up", "pagedown", "pageup"]);
    check(
        &world,
        &["send", "fix", "--key", "ctrl-alt-d"],
        &["ctrl-alt-d", "ctrl-alt-delete", "ctrl-alt-down"],
    );
    check(&world, &["send", "fix", "--key", "ctrl-z"], &["ctrl-z"]);
    assert!(ask(&world, &["send", "fix", "--key", "c"]).out().contains("ctrl-c"));
    check(
        &world,
        &["wait", "fix", "--for", "state=st"],
        &["state=starting", "state=stopped", "state=stopping"],
    );
    check(&world, &["wait", "fix", "--for", "o"], &["output="]);
    check(&world, &["logs", "d"], &["done"]);
    let _ = world.lane(&["new", "idea"]).ok();
    fs::write(world.worktree("idea").join("note"), "").unwrap();
    let _ = world.lane(&["close", "idea", "--discard"]).ok();
    check(&world, &["restore", ""], &["idea"]);
    check(&world, &["completions", ""], &["bash", "fish", "zsh"]);
    assert_eq!(ask(&world, &["attach", "--obs"]).out(), "--observe");
    assert_eq!(ask(&world, &["ls", ""]).out(), "--closed\n--json\n--workspace\n--help");
    check(&world, &["at"], &["attach"]);
    let id = world.json(&["exec", "fix", "--detach", "--", "fake-agent", "wait"])["worker"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    check(&world, &["stop", "wk_"], &[&id]);
}

#[test]
fn without_a_daemon_nothing_is_offered_made_or_started() {
    let world = environment();
    check(&world, &["attach", ""], &[]);
    assert!(!world.home.exists());
    check(&world, &["cl"], &["close"]);
    world.start("a", &["fake-agent", "wait"]);
    world.kill_the_daemon();
    check(&world, &["attach", ""], &[]);
    assert_eq!(world.lane(&["daemon", "status"]).code, 3, "none was started");
}

#[test]
fn what_is_wrong_is_not_said_at_a_prompt() {
    let world = two_lanes();
    let words = ["--", "lane", "attach", ""];
    let wrong: [fn(&mut Command) -> &mut Command; 5] = [
        |command| command.env("LANEWAY_HOME", "relative"),
        Command::env_clear,
        |command| command.current_dir("/"),
        |command| command.env("_CLAP_COMPLETE_INDEX", "99"),
        |command| command.env("_CLAP_COMPLETE_INDEX", "x"),
    ];
    for change in wrong {
        let mut command = world.lane_command(&words);
        command.env("_CLAP_COMPLETE_INDEX", "2");
        change(&mut command);
        command.env("LANEWAY_COMPLETE", "bash");
        let finished = finish(&mut command, b"").ok();
        assert_eq!(finished.err(), "");
        assert!(!finished.out().contains("fix"), "{finished}");
    }
}

#[test]
fn a_daemon_that_hangs_delays_a_prompt_by_little() {
    let world = two_lanes();
    let daemon = world.daemon_pid();
    process::signal(daemon, Signal::STOP);
    let began = Instant::now();
    check(&world, &["attach", "f"], &[]);
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    process::signal(daemon, Signal::CONT);
    check(&world, &["attach", "f"], &["fix"]);
}

#[test]
fn a_daemon_that_accepts_nobody_delays_a_prompt_by_little() {
    let world = environment();
    fs::create_dir(&world.home).unwrap();
    fs::set_permissions(&world.home, fs::Permissions::from_mode(0o700)).unwrap();
    let path = world.home.join("socket");
    let listener = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    bind(&listener, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    listen(&listener, 0).unwrap();
    // One fills a queue of none.
    let _waiting = UnixStream::connect(&path).unwrap();
    let began = Instant::now();
    check(&world, &["attach", ""], &[]);
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    fs::remove_file(&path).unwrap();
}

/// Types `lane attach f` and tab in an interactive shell that has sourced the script, and sees the name completed.
#[track_caller]
fn completes_in(shell: &[&str], prepare: &[&str]) {
    let world = two_lanes();
    if !Path::new("/usr/bin").join(shell[0]).exists() && !Path::new("/bin").join(shell[0]).exists() {
        // What it would be told is tested above for bash; the script differs, the candidates do not.
        return;
    }
    let mut setsid = world.program("setsid");
    setsid.env("PS1", "> ").env("fish_greeting", "");
    let mut window = Window::open(setsid, shell, 80, 24);
    for line in prepare {
        window.press(&format!("{line}\r"));
    }
    window.press("echo rea''dy\r");
    window.wait_for_row("ready");
    window.press("lane attach f\t");
    window.wait_for("lane attach fix");
    window.press("--ob\t");
    window.wait_for("lane attach fix --observe");
    window.close();
}

#[test]
fn bash_completes() {
    completes_in(&["bash", "--norc", "--noprofile", "-i"], &["source <(lane completions bash)"]);
}

#[test]
fn zsh_completes() {
    let prepare = ["PS1='> '", "autoload -Uz compinit", "compinit -D", "source <(lane completions zsh)"];
    completes_in(&["zsh", "-f", "-i"], &prepare);
}

#[test]
fn fish_completes() {
    completes_in(&["fish", "--no-config", "-i"], &["lane completions fish | source"]);
}
