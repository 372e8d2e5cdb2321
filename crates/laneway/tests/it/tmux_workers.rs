//! Workers in windows of tmux, on a private server each.

use std::ops::Deref;
use std::path::Path;

use laneway_testkit::LIMIT;
use laneway_testkit::process::{self, ends_within, finish};
use rustix::process::{Signal, pidfd_send_signal};
use serde_json::Value;

use crate::environment;
use crate::support::{Pipe, fails};
use crate::tmux_server::TmuxServer;

/// A world with a tmux server, in which a person has a session `people`; and a lane `fix`.
struct Tmux(TmuxServer);

impl Deref for Tmux {
    type Target = TmuxServer;

    fn deref(&self) -> &TmuxServer {
        &self.0
    }
}

impl Tmux {
    #[track_caller]
    fn new() -> Self {
        let tmux = Self::without_server();
        tmux.start();
        tmux
    }

    #[track_caller]
    fn without_server() -> Self {
        let server = TmuxServer::new();
        server.world.lane(&["new", "fix"]).ok();
        Self(server)
    }

    /// The arguments that start a worker in a window.
    fn arguments<'a>(&'a self, name: &'a str, program: &[&'a str]) -> Vec<&'a str> {
        let socket = self.socket.to_str().expect("tests run below a path that is text");
        let ours = ["run", "fix", "--terminal", "tmux", "--tmux-socket", socket, "--name", name, "--"];
        [&ours, program].concat()
    }

    #[track_caller]
    fn run(&self, name: &str, program: &[&str]) -> Value {
        self.world.lane(&self.arguments(name, program)).ok();
        self.world.worker(name)
    }

    #[track_caller]
    fn server_pid(&self) -> u32 {
        self.by_hand(&["display-message", "-p", "#{pid}"]).parse().unwrap()
    }

    /// Kills the server, and waits until nothing of it is left.
    #[track_caller]
    fn kill_server(&self) {
        let server = process::open(self.server_pid()).unwrap();
        self.by_hand(&["kill-server"]);
        assert!(ends_within(&server, LIMIT));
    }

    #[track_caller]
    fn wait_for_exit(&self, worker: &Value) -> Value {
        self.world.wait_for_exit(worker["id"].as_str().unwrap())["data"]["exit"].clone()
    }

    #[track_caller]
    fn wait_for_event(&self, worker: &Value, event: &str) -> Value {
        self.world.wait_for_event(0, event, |seen| seen["event"] == event && seen["worker"] == worker["id"])
    }
}

fn text_of(path: &Path) -> &str {
    path.to_str().expect("tests run below a path that is text")
}

#[test]
fn a_worker_has_a_window_of_its_own_as_long_as_it_is_not_stopped() {
    let tmux = Tmux::new();
    let worker = tmux.run("shell", &["cat"]);
    assert_eq!((&worker["terminal"]["kind"], &worker["status"]), (&"tmux".into(), &"running".into()));
    assert_eq!((&worker["session"], &worker["window_name"]), (&"laneway".into(), &"shell".into()));
    let pane = worker["pane_id"].as_str().unwrap();
    let tag = tmux.by_hand(&["display-message", "-p", "-t", pane, "#{@laneway} #{window_id}"]);
    assert_eq!(tag, format!("{} {}", worker["run"].as_str().unwrap(), worker["window_id"].as_str().unwrap()));
    tmux.run("other", &["cat"]);
    assert_eq!(tmux.windows(), ["laneway:laneway", "laneway:shell", "laneway:other", "people:theirs"]);
    tmux.world.lane(&["stop", "shell"]).ok();
    assert_eq!(tmux.windows(), ["laneway:laneway", "laneway:other", "people:theirs"]);
    let worker = tmux.world.worker("shell");
    assert_eq!((&worker["status"], &worker["pane_id"]), (&"stopped".into(), &Value::Null));
    tmux.world.lane(&["close", "fix"]).ok();
    assert_eq!(tmux.windows(), ["laneway:laneway", "people:theirs"]);
}

#[test]
fn without_a_server_one_is_started_and_a_session_keeps_it() {
    let tmux = Tmux::without_server();
    tmux.run("shell", &["cat"]);
    assert_eq!(tmux.windows(), ["laneway:laneway", "laneway:shell"]);
    tmux.world.lane(&["stop", "shell"]).ok();
    assert_eq!(tmux.windows(), ["laneway:laneway"]);
}

#[test]
fn how_a_program_ended_is_known_and_its_last_screen_and_window_stay() {
    let tmux = Tmux::new();
    let ended = tmux.run("true", &["true"]);
    assert_eq!(ended["exit"], serde_json::json!({ "kind": "code", "code": 0 }));
    tmux.world.lane(&tmux.arguments("fails", &["sh", "-c", "echo x; exit 3"])).code(1);
    let failed = tmux.world.worker("fails");
    assert_eq!((&failed["status"], &failed["exit"]["code"]), (&"failed".into(), &3.into()));
    assert_eq!(tmux.world.lane(&["read", "fails"]).ok().out(), "x\n");
    tmux.world.lane(&tmux.arguments("killed", &["sh", "-c", "kill -9 $$"])).code(1);
    assert_eq!(tmux.world.worker("killed")["exit"]["signal"], 9);
    let long = tmux.run("long", &["sh", "-c", "seq 5000; exec sleep 600"]);
    let pane = failed["pane_id"].as_str().unwrap();
    let shown = tmux.by_hand(&["capture-pane", "-p", "-S", "-", "-t", pane]);
    assert!(shown.starts_with('x') && shown.contains("status 3"), "the window shows it still: {shown}");
    // A foreign pane in that window is left alone when ours is removed.
    tmux.by_hand(&["split-window", "-d", "-t", pane, "--", "cat", "-u"]);
    tmux.world.lane(&["stop", "fails"]).ok();
    assert!(tmux.windows().contains(&"laneway:fails".to_owned()));
    let left = tmux.by_hand(&["list-panes", "-t", "=laneway:=fails", "-F", "#{pane_current_command}"]);
    assert_eq!(left, "cat");
    assert_eq!(tmux.world.lane(&["read", "fails"]).ok().out(), "x\n", "it is kept without the window");
    tmux.world.lane(&["stop", "long"]).ok();
    assert_eq!(tmux.wait_for_exit(&long)["kind"], "signal");
    assert_eq!(tmux.world.lane(&["read", "long", "--lines", "1"]).ok().out(), "5000\n");
}

#[test]
fn what_cannot_be_started_says_so_and_leaves_no_window() {
    let tmux = Tmux::new();
    fails(&tmux.world, &tmux.arguments("a", &["no-such-program"]), 1, "program_missing");
    assert_eq!(tmux.windows(), ["laneway:laneway", "people:theirs"]);
    assert_eq!(tmux.world.json(&["ps", "--all"])["workers"], serde_json::json!([]));
    // Nor does the next one find anything in its way.
    tmux.run("a", &["cat"]);
}

#[test]
fn without_tmux_it_is_said_what_to_install_and_all_else_works() {
    let world = environment();
    let bin = world.root().join("bin");
    std::fs::create_dir(&bin).unwrap();
    for name in ["git", "sh", "cat"] {
        let found = finish(world.program("sh").args(["-c", &format!("command -v {name}")]), b"").ok().out();
        std::os::unix::fs::symlink(found.trim(), bin.join(name)).unwrap();
    }
    // The daemon, which this starts, has the same PATH.
    let lane = |arguments: &[&str]| finish(world.lane_command(arguments).env("PATH", &bin), b"");
    lane(&["new", "fix"]).ok();
    let failed = lane(&["run", "fix", "--terminal", "tmux", "--json", "--", "cat"]).code(1);
    let error = &failed.json()["error"];
    assert_eq!(error["code"], "tmux_missing");
    assert!(error["hint"].as_str().unwrap().contains("install"), "{error}");
    lane(&["run", "fix", "--terminal", "auto", "--name", "b", "--", "cat"]).ok();
    assert_eq!(world.worker("b")["status"], "running");
    assert_eq!(world.json(&["ps", "--all"])["workers"].as_array().unwrap().len(), 1, "nothing is left of it");
}

#[test]
fn a_restart_is_in_the_same_pane() {
    let tmux = Tmux::new();
    let first = tmux.run("shell", &["cat"]);
    tmux.by_hand(&["rename-window", "-t", first["window_id"].as_str().unwrap(), "my own name"]);
    tmux.world.lane(&["restart", "shell"]).ok();
    let second = tmux.world.worker("shell");
    assert_eq!((&second["pane_id"], &second["window_id"]), (&first["pane_id"], &first["window_id"]));
    assert_eq!((&second["run_number"], &second["window_name"]), (&2.into(), &"my own name".into()));
    assert_ne!(second["pid"], first["pid"]);
    // Also of what has ended by itself, and was moved meanwhile.
    tmux.run("once", &["true"]);
    let once = tmux.world.worker("once");
    tmux.by_hand(&["move-window", "-s", once["window_id"].as_str().unwrap(), "-t", "people:"]);
    tmux.world.lane(&["start", "once"]).ok();
    let again = tmux.world.worker("once");
    assert_eq!((&again["pane_id"], &again["session"]), (&once["pane_id"], &"people".into()));
    // And by a policy.
    let socket = text_of(&tmux.socket);
    let gate = Pipe::new(&tmux.world, "gate");
    let script = format!("read x <'{}'; exit 1", gate.text());
    let policy = ["run", "fix", "--terminal", "tmux", "--tmux-socket", socket, "--restart", "on-failure"];
    tmux.world.lane(&[&policy[..], &["--name", "again", "--", "sh", "-c", &script]].concat()).ok();
    let before = tmux.world.worker("again");
    gate.go();
    let is_second = |seen: &Value| {
        seen["event"] == "run.started" && seen["worker"] == before["id"] && seen["data"]["number"] == 2
    };
    tmux.world.wait_for_event(0, "a second run", is_second);
    assert_eq!(tmux.world.worker("again")["pane_id"], before["pane_id"]);
}

#[test]
fn a_window_that_is_closed_by_hand_ends_its_run_and_that_is_what_is_said() {
    let tmux = Tmux::new();
    let socket = text_of(&tmux.socket);
    let always = ["run", "fix", "--terminal", "tmux", "--tmux-socket", socket, "--restart", "always"];
    tmux.world.lane(&[&always[..], &["--name", "a", "--", "sh", "-c", "sleep 600 & wait"]].concat()).ok();
    let worker = tmux.world.worker("a");
    tmux.by_hand(&["kill-window", "-t", worker["window_id"].as_str().unwrap()]);
    assert_eq!(tmux.wait_for_exit(&worker), serde_json::json!({ "kind": "closed_by_hand" }));
    tmux.wait_for_event(&worker, "worker.pane.closed");
    let worker = tmux.world.worker("a");
    assert_eq!((&worker["status"], &worker["pane_id"]), (&"stopped".into(), &Value::Null));
    let why = tmux.world.lane(&["explain", "a"]).ok().out();
    assert!(why.contains("closed by hand"), "{why}");
    tmux.world.lane(&["start", "a"]).ok();
    let again = tmux.world.worker("a");
    assert_eq!((&again["status"], &again["window_name"]), (&"running".into(), &"a".into()));
    assert_ne!(again["pane_id"], worker["pane_id"]);
}

#[test]
fn a_program_that_closes_its_own_window_is_closed_by_hand() {
    let tmux = Tmux::new();
    tmux.world
        .lane(&tmux.arguments("a", &["sh", "-c", "read x; tmux kill-window -t $TMUX_PANE; sleep 600"]))
        .ok();
    let worker = tmux.world.worker("a");
    tmux.by_hand(&["send-keys", "-t", worker["pane_id"].as_str().unwrap(), "Enter"]);
    assert_eq!(tmux.wait_for_exit(&worker), serde_json::json!({ "kind": "closed_by_hand" }));
    // And one that stops itself is stopped.
    let stops = tmux.run("b", &["sh", "-c", "read x; lane stop b"]);
    tmux.by_hand(&["send-keys", "-t", stops["pane_id"].as_str().unwrap(), "Enter"]);
    tmux.wait_for_event(&stops, "worker.pane.closed");
    assert_eq!(tmux.world.worker("b")["status"], "stopped");
    assert_eq!(tmux.windows(), ["laneway:laneway", "people:theirs"]);
}

#[test]
fn no_strangers_pane_is_touched_after_a_server_was_killed_and_ids_begin_again() {
    let tmux = Tmux::new();
    let live = tmux.run("live", &["cat"]);
    let dead = tmux.run("dead", &["true"]);
    tmux.kill_server();
    assert_eq!(tmux.wait_for_exit(&live), serde_json::json!({ "kind": "closed_by_hand" }));
    tmux.wait_for_event(&dead, "worker.pane.closed");
    tmux.start();
    for _ in 0..6 {
        tmux.by_hand(&["new-window", "-d", "--", "cat", "-u"]);
    }
    let format = "#{pane_id} #{pane_pid} #{pane_dead} #{window_name}";
    let before = tmux.by_hand(&["list-panes", "-s", "-t", "people", "-F", format]);
    for id in [&live, &dead].map(|worker| worker["pane_id"].as_str().unwrap().to_owned()) {
        assert!(before.contains(&format!("{id} ")), "{id} is somebody's: {before}");
    }
    tmux.world.lane(&["stop", "live"]).ok();
    tmux.world.lane(&["rename", "dead", "renamed"]).ok();
    tmux.world.lane(&["start", "live"]).ok();
    assert_eq!(tmux.world.worker("live")["status"], "running");
    tmux.world.lane(&["start", "renamed"]).ok();
    tmux.world.lane(&["close", "fix"]).ok();
    assert_eq!(tmux.by_hand(&["list-panes", "-s", "-t", "people", "-F", format]), before);
}

#[test]
fn what_happens_while_there_is_no_daemon_is_found_out_by_the_next_one() {
    let tmux = Tmux::new();
    let ends = tmux.run("ends", &["sh", "-c", "echo its last words; read x; exit 9"]);
    let closed = tmux.run("closed", &["cat"]);
    let stays = tmux.run("stays", &["cat"]);
    let moved = stays["window_id"].as_str().unwrap();
    tmux.world.kill_the_daemon();
    let programs = [&ends, &closed]
        .map(|worker| process::open(u32::try_from(worker["pid"].as_u64().unwrap()).unwrap()).unwrap());
    tmux.by_hand(&["send-keys", "-t", ends["pane_id"].as_str().unwrap(), "Enter"]);
    tmux.by_hand(&["kill-window", "-t", closed["window_id"].as_str().unwrap()]);
    tmux.by_hand(&["rename-window", "-t", moved, "elsewhere"]);
    for program in programs {
        assert!(ends_within(&program, LIMIT));
    }
    assert_eq!(tmux.wait_for_exit(&ends), serde_json::json!({ "kind": "code", "code": 9 }));
    assert_eq!(tmux.wait_for_exit(&closed), serde_json::json!({ "kind": "closed_by_hand" }));
    assert_eq!(tmux.world.lane(&["read", "ends"]).ok().out().lines().next(), Some("its last words"));
    tmux.wait_for_event(&stays, "worker.pane.moved");
    let stays = tmux.world.worker("stays");
    assert_eq!((&stays["status"], &stays["window_name"]), (&"running".into(), &"elsewhere".into()));
    // What it adopted it can end.
    tmux.world.lane(&["stop", "stays"]).ok();
    assert_eq!(tmux.windows(), ["laneway:laneway", "laneway:ends", "people:theirs"]);
}

#[test]
fn a_server_that_hangs_is_an_error_and_nothing_is_forgotten() {
    let tmux = Tmux::new();
    tmux.run("a", &["cat"]);
    tmux.world.lane(&["new", "beside", "--", "cat"]).ok();
    let server = process::open(tmux.server_pid()).unwrap();
    pidfd_send_signal(&server, Signal::STOP).unwrap();
    fails(&tmux.world, &["stop", "a"], 6, "tmux_silent");
    // Its program has ended, and the others are not held up.
    assert_eq!(tmux.world.worker("a")["status"], "stopped");
    assert_ne!(tmux.world.worker("a")["pane_id"], Value::Null);
    tmux.world.lane(&["stop", "beside"]).ok();
    pidfd_send_signal(&server, Signal::CONT).unwrap();
    tmux.world.lane(&["stop", "a"]).ok();
    assert_eq!(tmux.windows(), ["laneway:laneway", "people:theirs"]);
}

#[test]
fn what_a_pane_shows_is_waited_for_followed_and_recorded() {
    let tmux = Tmux::new();
    let worker = tmux.run("a", &["sh", "-c", "echo before; while read x; do echo \"said $x\"; done"]);
    let pane = worker["pane_id"].as_str().unwrap();
    let waiting = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            tmux.world.lane(&["wait", "a", "--for", "output=said (hello|.*late)", "--timeout", "1m"])
        });
        tmux.by_hand(&["send-keys", "-t", pane, "hello", "Enter"]);
        waiting.join().unwrap()
    });
    waiting.ok();
    let mut follower = tmux.world.window(&["read", "a", "--follow"], 80, 24);
    follower.wait_for("said hello");
    tmux.by_hand(&["send-keys", "-t", pane, "more", "Enter"]);
    follower.wait_for("said more");
    tmux.by_hand(&["send-keys", "-t", pane, "C-d"]);
    follower.wait_until_left_with(0);
    assert_eq!(tmux.wait_for_exit(&worker)["code"], 0);
    let text = tmux.world.lane(&["read", "a", "--all"]).ok().out();
    assert!(text.starts_with("before\n") && text.contains("said hello\n"), "{text}");
    let socket = text_of(&tmux.socket);
    let recorded = ["run", "fix", "--terminal", "tmux", "--tmux-socket", socket, "--record", "--name", "r"];
    tmux.world.lane(&[&recorded[..], &["--", "sh", "-c", "read x; echo the answer"]].concat()).ok();
    let worker = tmux.world.worker("r");
    tmux.world.lane(&["wait", "r", "--for", "idle=10ms", "--timeout", "1m"]).ok();
    tmux.by_hand(&["send-keys", "-t", worker["pane_id"].as_str().unwrap(), "Enter"]);
    tmux.wait_for_exit(&worker);
    let cast =
        std::fs::read_to_string(tmux.world.run_folder("r").join(laneway_wire::recording::file_name(1)))
            .unwrap();
    assert!(cast.contains("the answer"), "{cast}");
}

#[test]
fn a_worker_and_its_window_are_called_alike() {
    let tmux = Tmux::new();
    tmux.run("a", &["cat"]);
    tmux.world.lane(&["rename", "a", "b"]).ok();
    assert_eq!(tmux.windows(), ["laneway:laneway", "laneway:b", "people:theirs"]);
    // What a person calls it otherwise is known.
    let worker = tmux.world.worker("b");
    tmux.by_hand(&["rename-window", "-t", worker["window_id"].as_str().unwrap(), "c.d: e"]);
    let named =
        |seen: &Value| seen["event"] == "worker.pane.moved" && seen["data"]["to"]["window_name"] == "c.d: e";
    tmux.world.wait_for_event(0, "another name of the window", named);
    assert_eq!(tmux.world.worker("b")["window_name"], "c.d: e");
}

#[test]
fn inside_tmux_auto_is_a_window_of_the_same_session() {
    let tmux = Tmux::new();
    let inside = |arguments: &[&str]| {
        let pane = tmux.by_hand(&["display-message", "-p", "-t", "=people:", "#{pane_id}"]);
        let mut command = tmux.world.lane_command(arguments);
        command.env("TMUX", format!("{},1,0", text_of(&tmux.socket))).env("TMUX_PANE", pane);
        finish(&mut command, b"").ok()
    };
    inside(&["run", "fix", "--terminal", "auto", "--name", "a", "--", "cat"]);
    assert_eq!(tmux.world.worker("a")["session"], "people");
    inside(&["run", "fix", "--name", "b", "--", "cat"]);
    assert_eq!(tmux.world.worker("b")["terminal"]["kind"], "holder");
    std::fs::write(tmux.world.home.join("config.toml"), "terminal = \"auto\"\n").unwrap();
    inside(&["new", "other", "--", "cat"]);
    assert_eq!(tmux.world.worker("other")["session"], "people");
    tmux.world.lane(&["run", "fix", "--name", "c", "--", "cat"]).ok();
    assert_eq!(tmux.world.worker("c")["terminal"]["kind"], "holder", "outside of tmux");
    // The last window of a session takes nobody with it who is in it.
    let mut person = tmux.world.window(&["attach", "a"], 80, 24);
    person.wait_for("[people]");
    tmux.by_hand(&["kill-window", "-t", "=people:=theirs"]);
    for name in ["a", "other"] {
        tmux.world.lane(&["stop", name]).ok();
    }
    person.wait_for("This window keeps the session");
    assert!(tmux.windows().contains(&"people:laneway".to_owned()), "{:?}", tmux.windows());
    tmux.by_hand(&["detach-client", "-s", "=people"]);
    person.wait_until_left_with(0);
}

#[test]
fn the_name_of_a_session_is_never_carried_out_also_when_its_server_is_started_again() {
    let tmux = Tmux::without_server();
    let proof = tmux.world.root().join("PWN");
    // As a person types it tmux expands it; this is what comes out as #(…).
    let typed = format!("a##(touch '{}')b ", text_of(&proof));
    tmux.by_hand(&["-f", "/dev/null", "new-session", "-d", "-s", &typed, "--", "cat", "-u"]);
    let session = tmux.try_by_hand(&["list-sessions", "-F", "#{session_name}"]).ok().out();
    let session = session.strip_suffix('\n').unwrap();
    assert!(session.starts_with("a#(touch") && session.ends_with("b "), "{session:?}");
    let pane = tmux.by_hand(&["display-message", "-p", "#{pane_id}"]);
    let mut command =
        tmux.world.lane_command(&["run", "fix", "--terminal", "tmux", "--name", "w", "--", "cat"]);
    command.env("TMUX", format!("{},1,0", text_of(&tmux.socket))).env("TMUX_PANE", pane);
    finish(&mut command, b"").ok();
    let worker = tmux.world.worker("w");
    assert_eq!(worker["session"], session);
    tmux.kill_server();
    tmux.wait_for_exit(&worker);
    tmux.world.lane(&["start", "w"]).ok();
    assert_eq!(tmux.world.worker("w")["session"], session);
    assert!(!proof.exists(), "the name was carried out");
}

#[test]
fn a_socket_in_a_folder_that_everybody_can_write_into_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let tmux = Tmux::without_server();
    let folder = tmux.world.root().join("open");
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
    let socket = folder.join("s");
    let socket = text_of(&socket);
    let run = ["run", "fix", "--terminal", "tmux", "--tmux-socket", socket, "--name", "a", "--", "cat"];
    fails(&tmux.world, &run, 5, "tmux_untrusted");
    fails(&tmux.world, &["tmux", "sync", "--tmux-socket", socket], 5, "tmux_untrusted");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0, "nothing was started there");
}

#[test]
fn attaching_from_outside_shows_the_window_and_observing_does_too() {
    let tmux = Tmux::new();
    tmux.run("a", &["sh", "-c", "echo here I am; read x; echo you said $x; read x"]);
    let mut window = tmux.world.window(&["attach", "a"], 80, 24);
    window.wait_for("here I am");
    let mut observer = tmux.world.window(&["attach", "a", "--observe"], 80, 24);
    observer.wait_for("here I am");
    window.press("hello\r");
    window.wait_for("you said hello");
    observer.wait_for("you said hello");
    // tmux's own key leaves. Keys that come as fast as these it would take for a paste.
    tmux.by_hand(&["set-option", "-g", "assume-paste-time", "0"]);
    window.press("\x02d");
    window.wait_until_left_with(0);
    assert_eq!(tmux.world.worker("a")["status"], "running");
    tmux.world.lane(&["stop", "a"]).ok();
    observer.wait_until_left_with(0);
}

#[test]
fn a_hundred_at_once_are_a_hundred_windows_and_go_together() {
    let tmux = Tmux::new();
    let names: Vec<String> = (0..100).map(|n| format!("w{n}")).collect();
    std::thread::scope(|scope| {
        for name in &names {
            scope.spawn(|| tmux.world.lane(&tmux.arguments(name, &["cat"])).ok());
        }
    });
    let workers = tmux.world.json(&["ps"]);
    let workers = workers["workers"].as_array().unwrap();
    let seen =
        tmux.by_hand(&["list-panes", "-a", "-F", "#{pane_id} #{@laneway} #{window_name} #{window_panes}"]);
    let seen: std::collections::HashSet<&str> = seen.lines().collect();
    let mut programs = Vec::new();
    for name in &names {
        let worker = workers.iter().find(|worker| worker["name"] == **name).unwrap();
        assert_eq!(worker["status"], "running", "{worker}");
        let [pane, run] = ["pane_id", "run"].map(|key| worker[key].as_str().unwrap());
        assert!(seen.contains(&*format!("{pane} {run} {name} 1")), "{worker}");
        programs.push(process::open(u32::try_from(worker["pid"].as_u64().unwrap()).unwrap()).unwrap());
    }
    assert_eq!(seen.iter().filter(|line| line.contains(" rn_")).count(), 100);
    tmux.world.lane(&["close", "fix"]).ok();
    assert_eq!(tmux.windows(), ["laneway:laneway", "people:theirs"]);
    for program in programs {
        assert!(ends_within(&program, LIMIT));
    }
}
