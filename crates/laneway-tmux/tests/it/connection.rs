//! The connection: events, time limits, and a server that is not there, too old or not itself.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use laneway_testkit::LIMIT;
use laneway_testkit::process::{ends_within, open};
use laneway_tmux::{COMMAND_LIMIT, Event, Tmux, TmuxError, TmuxUnusable};
use rustix::process::{Signal, pidfd_send_signal};

use crate::support::{SHORT, World};

#[test]
fn what_happens_in_any_session_is_told() {
    let Some(world) = World::new() else { return };
    let heard = world.listen();
    let made = world.make("fix", "rn_1", &["/bin/cat", "-u"]);
    let window = made.identity.window.unwrap();
    heard.wait_for("a new window", |event| *event == Event::WindowAdded(window));
    world.by_hand(&["rename-window", "-t", &window.to_string(), "by hand"]);
    heard.wait_for("its name", |event| *event == Event::WindowRenamed(window, "by hand".to_owned()));
    world.by_hand(&["kill-window", "-t", &window.to_string()]);
    heard.wait_for("its end", |event| *event == Event::WindowClosed(window));
}

#[test]
fn a_server_that_hangs_is_an_error_within_the_limit_and_is_found_again_later() {
    let Some(world) = World::new() else { return };
    let tmux = world.tmux.with_limit(SHORT);
    let server = tmux.server(world.server.socket());
    let identity = server.connect().unwrap();
    let process = laneway_testkit::process::open(identity.pid).unwrap();
    pidfd_send_signal(&process, Signal::STOP).unwrap();
    let begun = Instant::now();
    // With the connection that is there, then with ones that cannot be made.
    for _ in 0..2 {
        let error = server.snapshot().unwrap_err();
        assert!(matches!(error, TmuxError::NotResponding { .. }), "{error}");
    }
    let crowd: Vec<_> = (0..20)
        .map(|_| {
            let server = server.clone();
            std::thread::spawn(move || server.snapshot().unwrap_err())
        })
        .collect();
    for one in crowd {
        let error = one.join().unwrap();
        assert!(matches!(error, TmuxError::NotResponding { .. }), "{error}");
    }
    let took = begun.elapsed();
    assert!(took < SHORT * 10, "twenty do not wait for one another: {took:?}");
    pidfd_send_signal(&process, Signal::CONT).unwrap();
    assert_eq!(server.snapshot().unwrap().panes.len(), 1);
    assert_eq!(server.connect().unwrap(), identity, "it has not crashed of it");
}

#[test]
fn no_server_no_tmux_and_an_old_tmux_are_told_apart() {
    let Some(world) = World::without_server() else { return };
    let error = world.server.snapshot().unwrap_err();
    assert!(matches!(error, TmuxError::NoServer { .. }), "{error}");
    assert!(!world.server.socket().exists(), "looking starts nothing");
    std::fs::write(world.server.socket(), "").unwrap();
    let error = world.server.snapshot().unwrap_err();
    assert!(matches!(error, TmuxError::NoServer { .. } | TmuxError::Disconnected { .. }), "{error}");
    std::fs::remove_file(world.server.socket()).unwrap();
    let missing = Tmux::find([("PATH".into(), world.folder.path().into())]).unwrap_err();
    assert!(matches!(missing, TmuxUnusable::NotFound), "{missing}");
    assert!(missing.to_string().contains("install tmux 3.3 or newer"), "{missing}");
    let old = world.folder.path().join("tmux");
    std::fs::write(&old, "#!/bin/sh\necho tmux 3.2a\n").unwrap();
    std::fs::set_permissions(&old, std::fs::Permissions::from_mode(0o755)).unwrap();
    let refused = Tmux::find([("PATH".into(), world.folder.path().into())]).unwrap_err();
    assert!(refused.to_string().ends_with("is tmux 3.2a; Laneway needs 3.3 or newer"), "{refused}");
}

#[test]
fn the_session_of_the_connection_goes_with_it_and_is_nobodys_pane() {
    let Some(world) = World::new() else { return };
    let other = world.tmux.with_limit(COMMAND_LIMIT);
    let server = other.server(world.server.socket());
    assert_eq!(server.snapshot().unwrap().panes.len(), 1, "ours is not shown");
    let ours = || world.by_hand(&["list-sessions", "-F", "#{session_name}"]).lines().count();
    assert_eq!(ours(), 2, "one of people, one of the connection");
    other.leave(LIMIT);
    assert_eq!(ours(), 1);
    assert!(matches!(server.snapshot(), Err(TmuxError::Disconnected { .. })), "it is left for good");
}

/// The client of a connection, as a process with this id starts it.
#[expect(clippy::disallowed_methods, reason = "what a process that was killed has started")]
fn client(world: &World, process: u32) -> Child {
    let session = format!("laneway-control-{process}-0");
    let mut command = Command::new(world.tmux.program());
    command.env_clear().args(["-u", "-N", "-S"]).arg(world.server.socket());
    command.args(["-C", "new-session", "-f", "ignore-size,no-output", "-x", "80", "-y", "24"]);
    command.args(["-s", &session, "sleep", "infinity"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a process that is a zombie until it is waited for")]
fn what_a_process_has_left_that_was_killed_while_it_connected_does_not_keep_a_server() {
    let Some(world) = World::new() else { return };
    // It is a zombie until it is waited for, which is not alive either.
    let mut dead = Command::new("/bin/true").spawn().unwrap();
    assert!(ends_within(&open(dead.id()).unwrap(), LIMIT));
    let pid: u32 = world.by_hand(&["display-message", "-p", "#{pid}"]).parse().unwrap();
    let server = open(pid).unwrap();
    let mut other = client(&world, std::os::unix::process::parent_id());
    let mut told = BufReader::new(other.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(told.any(|line| line.starts_with("%session-changed")), "it is not attached");
    // It cannot say who it is before its process is gone.
    pidfd_send_signal(&server, Signal::STOP).unwrap();
    let mut client = client(&world, dead.id());
    drop((client.stdin.take(), client.stdout.take(), client.stderr.take()));
    pidfd_send_signal(&server, Signal::CONT).unwrap();
    let heard = world.listen();
    assert!(ends_within(&open(client.id()).unwrap(), LIMIT), "the client is stuck");
    client.wait().unwrap();
    assert!(other.try_wait().unwrap().is_none(), "the client of a process that lives was ended");
    other.kill().unwrap();
    other.wait().unwrap();
    dead.wait().unwrap();
    let sessions = world.by_hand(&["list-sessions", "-F", "#{session_name}"]);
    assert!(!sessions.contains(&format!("laneway-control-{}-", dead.id())), "{sessions}");
    world.by_hand(&["kill-server"]);
    assert!(ends_within(&server, LIMIT), "the server does not end");
    heard.wait_for("the end of the server", |event| *event == Event::Disconnected);
}
