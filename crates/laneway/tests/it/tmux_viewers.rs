//! Windows of tmux that show workers, on a server of each test's own.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use laneway_testkit::process::{ends_within, finish, open, readable_within};
use laneway_testkit::{Finished, LIMIT};
use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::process::{Signal, pidfd_send_signal};
use serde_json::Value;

use crate::environment;
use crate::support::{fails, has_failed};
use crate::tmux_server::TmuxServer;

/// A world with a tmux server, which ends with it.
struct Tmux(TmuxServer);

impl Deref for Tmux {
    type Target = TmuxServer;

    fn deref(&self) -> &TmuxServer {
        &self.0
    }
}

impl Tmux {
    /// None if there is no tmux.
    fn new() -> Option<Self> {
        let server = TmuxServer::new();
        let there = server
            .world
            .program("sh")
            .args(["-c", "command -v tmux"])
            .output()
            .is_ok_and(|said| said.status.success());
        assert!(there || std::env::var_os("CI").is_none(), "tests in CI need tmux");
        there.then_some(Self(server))
    }

    /// With a person's session in it.
    fn with_people() -> Option<Self> {
        let tmux = Self::new()?;
        tmux.start();
        Some(tmux)
    }

    /// `lane`, as it is typed outside of tmux.
    #[track_caller]
    fn outside(&self, arguments: &[&str]) -> Finished {
        finish(self.world.lane_command(arguments).env("LANEWAY_TMUX_SOCKET", &self.socket), b"")
    }

    /// `lane`, as it is typed in a person's pane.
    #[track_caller]
    fn inside(&self, arguments: &[&str]) -> Finished {
        let pane = self.by_hand(&["display-message", "-p", "-t", "=people:=theirs", "#{pane_id}"]);
        let tmux = format!("{},1,0", self.socket.display());
        finish(self.world.lane_command(arguments).env("TMUX", tmux).env("TMUX_PANE", pane.trim()), b"")
    }

    #[track_caller]
    fn synced(&self) -> Value {
        self.inside(&["tmux", "sync", "--json"]).ok().json()
    }

    /// Waits until this window is gone.
    #[track_caller]
    fn goes(&self, window: &str, by: impl FnOnce()) {
        let pid = self.by_hand(&["display-message", "-p", "-t", window, "#{pane_pid}"]);
        let process = open(pid.trim().parse().expect("a process id")).expect("it runs");
        by();
        assert!(ends_within(&process, LIMIT), "what runs in {window} does not end");
    }

    /// Waits until a pane shows this.
    #[track_caller]
    fn shows(&self, pane: &str, text: &str) {
        let path = self.world.root().join("shown");
        let mut pipe = held_pipe(&path);
        // From then on nothing is missed; what was there before is on the screen.
        self.by_hand(&["pipe-pane", "-O", "-t", pane, &format!("exec cat >'{}'", path.display())]);
        let mut shown = self.by_hand(&["capture-pane", "-p", "-t", pane]).into_bytes();
        let mut buffer = [0; 4096];
        while !String::from_utf8_lossy(&shown).contains(text) {
            let so_far = || String::from_utf8_lossy(&shown).into_owned();
            assert!(readable_within(&pipe, LIMIT), "{pane} does not show {text:?}: {}", so_far());
            let n = pipe.read(&mut buffer).expect("a pipe that is readable");
            shown.extend_from_slice(&buffer[..n]);
        }
    }
}

/// A named pipe that is open here at both ends, so that it has no end of file.
fn held_pipe(path: &Path) -> File {
    mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR).expect("a new pipe");
    OpenOptions::new().read(true).write(true).open(path).expect("the pipe that was just made")
}

fn names(of: &Value) -> Vec<&str> {
    of.as_array().expect("a list").iter().map(|viewer| viewer["name"].as_str().expect("a name")).collect()
}

#[test]
fn every_worker_has_a_window_that_shows_it_and_repeating_it_changes_nothing() {
    let Some(tmux) = Tmux::with_people() else { return };
    tmux.by_hand(&["set-option", "-g", "base-index", "1"]);
    tmux.by_hand(&["set-option", "-g", "pane-base-index", "1"]);
    tmux.world.start("fix", &["fake-agent", "echo"]);
    tmux.world.start("docs", &["fake-agent", "echo"]);
    tmux.world.lane(&["run", "docs", "--name", "docs-1", "--", "fake-agent", "echo"]).ok();
    let synced = tmux.synced();
    assert_eq!(names(&synced["opened"]), ["fix", "docs", "docs-1"], "{synced}");
    assert_eq!(synced["session"], "people", "{synced}");
    let expected = ["people:theirs", "people:fix", "people:docs", "people:docs-1"];
    assert_eq!(tmux.windows(), expected);
    let again = tmux.synced();
    assert_eq!((names(&again["kept"]).len(), names(&again["opened"]).len()), (3, 0), "{again}");
    assert_eq!(tmux.windows(), expected);
    tmux.world.lane(&["send", "fix", "to fix", "--enter"]).ok();
    tmux.shows("=people:=fix", "to fix");
    tmux.by_hand(&["send-keys", "-t", "=people:=docs", "-l", "to docs"]);
    tmux.by_hand(&["send-keys", "-t", "=people:=docs", "Enter"]);
    tmux.world.lane(&["wait", "docs", "--for", "output=to docs"]).ok();
}

#[test]
fn what_is_closed_by_hand_ends_nothing_and_comes_back() {
    let Some(tmux) = Tmux::with_people() else { return };
    tmux.world.start("fix", &["fake-agent", "echo"]);
    let window = tmux.synced()["opened"][0]["window_id"].as_str().expect("an id").to_owned();
    tmux.goes(&window, || {
        tmux.by_hand(&["kill-window", "-t", &window]);
    });
    assert_eq!(tmux.world.worker("fix")["status"], "running");
    assert_eq!(names(&tmux.synced()["opened"]), ["fix"]);
}

#[test]
fn windows_of_workers_that_ended_go_and_others_stay_whatever_they_are_called() {
    let Some(tmux) = Tmux::with_people() else { return };
    tmux.world.start("fix", &["fake-agent", "echo"]);
    tmux.world.start("docs", &["fake-agent", "echo"]);
    let synced = tmux.synced();
    let window = |at: usize| synced["opened"][at]["window_id"].as_str().expect("an id").to_owned();
    tmux.by_hand(&["rename-window", "-t", &window(1), "by hand"]);
    tmux.by_hand(&["new-window", "-d", "-n", "fix", "-t", "people:", "cat", "-u"]);
    tmux.goes(&window(0), || {
        tmux.world.lane(&["stop", "fix"]).ok();
    });
    let again = tmux.synced();
    assert_eq!(names(&again["kept"]), ["docs"], "{again}");
    assert_eq!(again["kept"][0]["window_name"], "by hand", "{again}");
    assert_eq!(tmux.windows(), ["people:theirs", "people:by hand", "people:fix"]);
    // One that a person keeps after its program's end.
    tmux.by_hand(&["set-option", "-w", "-t", &window(1), "remain-on-exit", "on"]);
    tmux.goes(&window(1), || {
        tmux.world.lane(&["stop", "docs"]).ok();
    });
    let last = tmux.synced();
    assert_eq!(names(&last["closed"]), ["docs"], "{last}");
    assert_eq!(tmux.windows(), ["people:theirs", "people:fix"]);
}

#[test]
fn what_a_person_starts_in_such_a_window_is_theirs() {
    let Some(tmux) = Tmux::with_people() else { return };
    tmux.world.start("fix", &["fake-agent", "echo"]);
    let pane = tmux.synced()["opened"][0]["pane_id"].as_str().expect("an id").to_owned();
    tmux.by_hand(&["respawn-pane", "-k", "-t", &pane, "cat", "-u"]);
    let second = tmux.synced();
    assert_eq!(names(&second["opened"]), ["fix"], "the other shows it no more");
    tmux.goes(second["opened"][0]["window_id"].as_str().expect("an id"), || {
        tmux.world.lane(&["stop", "fix"]).ok();
    });
    assert_eq!(names(&tmux.synced()["closed"]), [""; 0]);
    assert_eq!(tmux.by_hand(&["display-message", "-p", "-t", &pane, "#{pane_current_command}"]), "cat");
}

#[test]
fn a_window_that_shows_a_worker_is_resolved_to_it_and_stays_what_it_is_for_all_else() {
    let Some(tmux) = Tmux::with_people() else { return };
    tmux.world.start("fix", &["fake-agent", "ready", "echo"]);
    let opened = tmux.synced()["opened"][0].clone();
    let [window, pane] = ["window_id", "pane_id"].map(|key| opened[key].as_str().expect("an id").to_owned());
    for target in [&window, &pane] {
        let resolved = tmux.inside(&["resolve", target, "--json"]).ok().json();
        assert_eq!(
            (&resolved["method"], &resolved["worker"]),
            (&"viewer".into(), &"fix".into()),
            "{resolved}"
        );
    }
    for verb in [&["stop", &window][..], &["send", &pane, "x"], &["restart", &window]] {
        assert_eq!(tmux.inside(verb).code, 5, "{verb:?}");
    }
    let _ = tmux.inside(&["read", &pane]).ok();
    assert_eq!(tmux.world.worker("fix")["status"], "running");
}

#[test]
fn a_lane_that_is_shown_can_be_closed() {
    let Some(tmux) = Tmux::with_people() else { return };
    tmux.world.start("fix", &["fake-agent", "echo"]);
    let window = tmux.synced()["opened"][0]["window_id"].as_str().expect("an id").to_owned();
    let spread = tmux.inside(&["tmux", "spread", "fix", "--json"]).ok().json();
    tmux.goes(spread["window_id"].as_str().expect("an id"), || {
        tmux.goes(&window, || {
            tmux.world.lane(&["close", "fix"]).ok();
        });
    });
    assert_eq!(tmux.windows(), ["people:theirs"]);
}

#[test]
fn outside_of_tmux_a_server_and_a_session_are_made() {
    let Some(tmux) = Tmux::new() else { return };
    tmux.world.start("fix", &["fake-agent", "echo"]);
    let said = tmux.outside(&["tmux", "sync"]).ok().out();
    assert!(said.starts_with("opened  fix  window @"), "{said}");
    assert!(said.contains(&format!("tmux -S {} attach -t '=laneway'", tmux.socket.display())), "{said}");
    assert_eq!(tmux.windows(), ["laneway:laneway", "laneway:fix"]);
    let sessions = || tmux.by_hand(&["list-sessions", "-F", "#{session_name}"]);
    assert_eq!(sessions().lines().count(), 2, "its own, and that of the daemon's connection: {}", sessions());
    // Once it is attached the window needs no daemon.
    tmux.world.lane(&["send", "fix", "hello", "--enter"]).ok();
    tmux.shows("=laneway:=fix", "hello");
    tmux.world.lane(&["daemon", "stop"]).ok();
    assert_eq!(sessions(), "laneway", "nothing of the daemon is left there");
    tmux.world.lane(&["daemon", "start"]).ok();
}

#[test]
fn the_workers_of_a_lane_stand_side_by_side() {
    let Some(tmux) = Tmux::with_people() else { return };
    tmux.world.start("fix", &["fake-agent", "echo"]);
    tmux.world.start("docs", &["fake-agent", "echo"]);
    tmux.world.lane(&["run", "fix", "--name", "second", "--", "fake-agent", "echo"]).ok();
    let spread = tmux.inside(&["tmux", "spread", "fix", "--json"]).ok().json();
    assert_eq!(names(&spread["opened"]), ["fix", "second"], "{spread}");
    tmux.world.lane(&["run", "fix", "--name", "third", "--", "fake-agent", "echo"]).ok();
    let again = tmux.inside(&["tmux", "spread", "fix", "--json"]).ok().json();
    assert_eq!(
        (names(&again["kept"]), names(&again["opened"])),
        (vec!["fix", "second"], vec!["third"]),
        "{again}"
    );
    assert_eq!(again["window_id"], spread["window_id"]);
    let window = again["window_id"].as_str().expect("an id");
    assert_eq!(tmux.by_hand(&["list-panes", "-t", window]).lines().count(), 3);
    // A window of its own is another thing.
    assert_eq!(names(&tmux.synced()["opened"]).len(), 4);
    let pane = again["opened"][0]["pane_id"].as_str().expect("an id");
    tmux.goes(pane, || {
        tmux.world.lane(&["stop", "third"]).ok();
    });
    assert_eq!(tmux.world.worker("second")["status"], "running");
    let error = tmux.outside(&["tmux", "spread", "nowhere", "--json"]);
    has_failed(&error, 3, "not_found");
}

#[test]
fn no_tmux_and_no_such_server_are_told_with_what_to_do() {
    let Some(tmux) = Tmux::new() else { return };
    tmux.world.start("fix", &["fake-agent", "echo"]);
    let inside = format!("{},1,0", tmux.socket.display());
    let gone = finish(
        tmux.world.lane_command(&["tmux", "sync", "--json"]).env("TMUX", inside).env("TMUX_PANE", "%7"),
        b"",
    );
    has_failed(&gone, 6, "tmux_not_running");
    let bare = environment();
    let folder = bare.root().join("bin");
    std::fs::create_dir(&folder).expect("a new folder");
    let git = bare.program("sh").args(["-c", "command -v git"]).output().expect("sh runs");
    let git = String::from_utf8(git.stdout).expect("a path");
    std::os::unix::fs::symlink(git.trim(), folder.join("git")).expect("a new link");
    finish(bare.lane_command(&["daemon", "start"]).env("PATH", &folder), b"").ok();
    let old = folder.join("tmux");
    std::fs::write(&old, "#!/bin/sh\necho tmux 3.2a\n").expect("a new file");
    std::fs::set_permissions(&old, std::fs::Permissions::from_mode(0o755)).expect("a file of ours");
    let error = fails(&bare, &["tmux", "sync"], 1, "tmux_too_old");
    assert!(error["message"].as_str().is_some_and(|said| said.contains("tmux 3.2a")), "{error}");
    std::fs::remove_file(old).expect("a file of ours");
    let error = fails(&bare, &["tmux", "sync"], 1, "tmux_missing");
    assert!(
        error["message"].as_str().is_some_and(|said| said.contains("install tmux 3.3 or newer")),
        "{error}"
    );
    assert!(error["hint"].as_str().is_some_and(|hint| hint.contains("lane attach")), "{error}");
}

#[test]
fn a_tmux_that_hangs_is_told_and_holds_up_nobody_else() {
    let Some(tmux) = Tmux::with_people() else { return };
    tmux.world.start("fix", &["fake-agent", "echo"]);
    let pid = tmux.by_hand(&["display-message", "-p", "#{pid}"]).trim().parse().expect("a process id");
    let server = open(pid).expect("it runs");
    // With the connection that is there, and with none.
    for _ in 0..2 {
        pidfd_send_signal(&server, Signal::STOP).expect("it runs");
        let mut syncing = tmux.world.lane_command(&["tmux", "sync", "--json"]);
        syncing.env("LANEWAY_TMUX_SOCKET", &tmux.socket).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut syncing = syncing.spawn().expect("lane can be started");
        tmux.world.lane(&["send", "fix", "still here", "--enter"]).ok();
        tmux.world.lane(&["wait", "fix", "--for", "output=still here"]).ok();
        assert!(syncing.try_wait().expect("a child").is_none(), "others were answered meanwhile");
        let said = syncing.wait_with_output().expect("a child");
        let error: Value = serde_json::from_slice(&said.stdout).expect("one document");
        assert_eq!(
            (said.status.code(), &error["error"]["code"]),
            (Some(6), &Value::from("tmux_silent")),
            "{error}"
        );
        pidfd_send_signal(&server, Signal::CONT).expect("it runs");
        let synced = tmux.outside(&["tmux", "sync", "--json"]).ok().json();
        assert_eq!(names(&synced["opened"]).len() + names(&synced["kept"]).len(), 1, "{synced}");
    }
}
