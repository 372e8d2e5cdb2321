//! Panes of tmux as targets and terminals, on a private server each: read, typed at, split, and followed wherever people
//! put them.

use std::fs;
use std::ops::Deref;

use laneway_testkit::Finished;
use laneway_testkit::process::{finish, is_alive};
use serde_json::{Value, json};

use crate::support::{fails, has_failed};
use crate::tmux_server::TmuxServer;

/// A world with a tmux server, in which a person has a session `people`; and a lane `fix`.
pub(crate) struct Tmux(TmuxServer);

impl Deref for Tmux {
    type Target = TmuxServer;

    fn deref(&self) -> &TmuxServer {
        &self.0
    }
}

impl Tmux {
    #[track_caller]
    pub(crate) fn new() -> Self {
        let server = TmuxServer::new();
        server.world.lane(&["new", "fix"]).ok();
        server.start();
        Self(server)
    }

    /// `lane`, typed where this server is meant.
    pub(crate) fn lane(&self, arguments: &[&str]) -> Finished {
        finish(self.world.lane_command(arguments).env("LANEWAY_TMUX_SOCKET", &self.socket), b"")
    }

    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        self.lane(&with_json(arguments)).ok().json()
    }

    /// A failure of this exit code and word.
    #[track_caller]
    pub(crate) fn fails(&self, arguments: &[&str], code: i32, word: &str) -> Value {
        has_failed(&self.lane(&with_json(arguments)), code, word)
    }

    #[track_caller]
    pub(crate) fn run(&self, name: &str, program: &[&str]) -> Value {
        self.lane(&[&["run", "fix", "--terminal", "tmux", "--name", name, "--"], program].concat()).ok();
        self.world.worker(name)
    }

    /// A worker, its pane's id and its window's.
    #[track_caller]
    pub(crate) fn run_cat(&self, name: &str) -> (Value, String, String) {
        let worker = self.run(name, &["cat"]);
        let text = |key: &str| worker[key].as_str().unwrap_or_else(|| panic!("{key} of {worker}")).to_owned();
        let (pane, window) = (text("pane_id"), text("window_id"));
        (worker, pane, window)
    }

    #[track_caller]
    pub(crate) fn wait_for_event(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        self.world.wait_for_event(0, what, |seen| seen["event"] == what && fits(seen))
    }

    /// Waits until a worker's terminal shows this.
    #[track_caller]
    pub(crate) fn wait_for_output(&self, name: &str, text: &str) {
        self.lane(&["wait", name, "--for", &format!("output={text}"), "--timeout", "20s"]).ok();
    }

    /// What a target means: worker and pane.
    #[track_caller]
    pub(crate) fn meant(&self, target: &str) -> (Value, Value) {
        let resolved = self.json(&["resolve", target]);
        (resolved["worker"].clone(), resolved["pane_index"].clone())
    }
}

/// The option stands before a command.
fn with_json<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    let at = arguments.iter().position(|word| *word == "--").unwrap_or(arguments.len());
    let (ours, theirs) = arguments.split_at(at);
    [ours, &["--json"], theirs].concat()
}

#[test]
fn a_worker_in_tmux_is_found_by_all_its_names_and_no_part_of_one() {
    let tmux = Tmux::new();
    let (_, pane, window) = tmux.run_cat("bd-421");
    let (_, gone, gone_window) = tmux.run_cat("bd-42");
    tmux.lane(&["stop", "bd-42"]).ok();
    tmux.by_hand(&["rename-window", "-t", &window, "a b: c.d"]);
    let renamed = |seen: &Value| seen["data"]["to"]["window_name"] == "a b: c.d";
    tmux.wait_for_event("worker.pane.moved", renamed);
    for target in
        [&pane, &window, "bd-421", "bd-421:0", "laneway:a b: c.d", "laneway:a b: c.d.0", "fix/bd-421"]
    {
        assert_eq!(tmux.meant(target), (json!("bd-421"), json!(0)), "{target}");
    }
    let shown = tmux.lane(&["ps"]).ok().out();
    assert!(shown.contains("laneway:a b: c.d") && shown.contains(&pane), "{shown}");
    let pid = tmux.world.pid("bd-421");
    for target in [&gone, &gone_window, "laneway:bd-42", "laneway:a b", "laneway:bd-421", "@999", "%999"] {
        for arguments in [&["send", target, "x"][..], &["stop", target], &["restart", target]] {
            let refused = tmux.lane(arguments);
            assert_eq!(refused.code, 3, "{arguments:?}: {refused}");
        }
    }
    let unknown = tmux.fails(&["stop", "@999"], 3, "no_such_window");
    assert!(unknown["message"].as_str().unwrap().contains(&window), "{unknown}");
    assert_eq!(tmux.world.pid("bd-421"), pid);
    assert_eq!(tmux.lane(&["read", "bd-421"]).ok().out(), "");
    tmux.lane(&["stop", &window]).ok();
    assert!(!is_alive(pid));
}

#[test]
fn hostile_text_reaches_the_program_as_it_is() {
    let tmux = Tmux::new();
    let got = tmux.world.root().join("got");
    let text =
        b"it's \"x\"; -n $(y) `z` #{pane_id} \\; Enter C-c \xc3\xbc\n-t %0\ttab\x1b[201~;\n;".as_slice();
    let long = [text, &vec![b'x'; 200_000], b"END;"].concat();
    let expected = [&long[..], b"\x03\r"].concat();
    let count = expected.len();
    let script = format!("stty raw -echo; echo ready; exec head -c {count} > '{}'", got.display());
    let worker = tmux.run("a", &["sh", "-c", &script]);
    tmux.wait_for_output("a", "ready");
    let mut send = tmux.world.lane_command(&["send", "a", "-"]);
    let _ = finish(send.env("LANEWAY_TMUX_SOCKET", &tmux.socket), &long).ok();
    tmux.lane(&["send", "a", "--key", "ctrl-c", "--key", "enter"]).ok();
    tmux.world.wait_for_exit(worker["id"].as_str().unwrap());
    assert!(fs::read(&got).unwrap() == expected);
}

#[test]
fn what_the_terminal_would_cut_or_act_upon_is_refused_as_everywhere() {
    let tmux = Tmux::new();
    tmux.run("a", &["sh", "-c", "read x; echo \"<$x>\"; exec cat"]);
    let long = "x".repeat(4096);
    tmux.fails(&["send", "a", &long], 5, "line_too_long");
    tmux.fails(&["send", "a", "a\u{3}"], 5, "control_character");
    tmux.fails(&["send", "a", "--key", "nokey"], 2, "unknown_key");
    tmux.lane(&["send", "a", "--enter", "one two"]).ok();
    tmux.wait_for_output("a", "<one two>");
    assert_eq!(tmux.lane(&["read", "a", "--lines", "1"]).ok().out(), "<one two>\n");
    tmux.lane(&["stop", "a"]).ok();
    tmux.fails(&["send", "a", "x"], 5, "ended");
}

#[test]
fn panes_of_a_worker_have_numbers_that_are_never_given_again() {
    let tmux = Tmux::new();
    let (worker, pane, _) = tmux.run_cat("a");
    let added = tmux.json(&["split", "a", "--", "cat"]);
    assert_eq!(added["pane"]["number"], 1);
    let first = added["pane"]["pane_id"].as_str().unwrap();
    tmux.lane(&["send", "a:1", "--enter", "hello"]).ok();
    assert_eq!(tmux.meant(first), (json!("a"), json!(1)));
    assert_eq!(tmux.meant("laneway:a.1"), (json!("a"), json!(1)));
    assert_eq!(tmux.lane(&["read", "a"]).ok().out(), "", "nothing came to the other one");
    tmux.by_hand(&["kill-pane", "-t", first]);
    tmux.wait_for_event("worker.pane.closed", |seen| seen["data"]["number"] == 1);
    tmux.fails(&["send", "a:1", "x"], 3, "no_such_pane");
    assert_eq!(tmux.json(&["split", "a", "-h"])["pane"]["number"], 2);
    tmux.fails(&["send", "a", "--pane", "1", "x"], 3, "no_such_pane");
    tmux.fails(&["stop", "a:2"], 2, "pane_of_worker");
    tmux.lane(&["read", "a", "--pane", "2"]).ok();
    assert_eq!(tmux.json(&["show", "a"])["worker"]["panes"][0]["number"], 2);
    // Broken out into a window of its own, it is still that pane.
    let second = tmux.json(&["show", "a"])["worker"]["panes"][0]["pane_id"].as_str().unwrap().to_owned();
    tmux.by_hand(&["break-pane", "-d", "-s", &second, "-n", "elsewhere"]);
    tmux.wait_for_event("worker.pane.moved", |seen| seen["data"]["to"]["window_name"] == "elsewhere");
    assert_eq!(tmux.meant("laneway:elsewhere"), (json!("a"), json!(2)));
    assert_eq!(tmux.meant(&pane), (json!("a"), json!(0)));
    assert_eq!(worker["id"], tmux.world.worker("a")["id"]);
    tmux.lane(&["close", "fix"]).ok();
    let left = tmux.by_hand(&["list-panes", "-a", "-F", "#{pane_id}"]);
    assert!(!left.lines().any(|id| id == pane || id == second), "{left}");
}

#[test]
fn a_window_of_two_workers_is_ambiguous_and_each_pane_is_its_own() {
    let tmux = Tmux::new();
    let (_, first, window) = tmux.run_cat("a");
    let (_, second, _) = tmux.run_cat("b");
    tmux.by_hand(&["join-pane", "-d", "-s", &second, "-t", &first]);
    tmux.wait_for_event("worker.pane.moved", |seen| seen["data"]["to"]["window_id"] == window.as_str());
    let error = tmux.fails(&["send", &window, "x"], 4, "ambiguous");
    assert_eq!(error["details"]["candidates"], json!(["fix/a", "fix/b"]));
    assert_eq!((tmux.meant(&first).0, tmux.meant(&second).0), (json!("a"), json!("b")));
    let pid = tmux.world.pid("b");
    tmux.lane(&["stop", &first]).ok();
    assert!(is_alive(pid) && tmux.world.pid("b") == pid);
    assert_eq!(tmux.meant(&window).0, json!("b"));
}

#[test]
fn a_pane_opened_by_hand_is_read_and_nothing_else() {
    let tmux = Tmux::new();
    let (_, pane, window) = tmux.run_cat("a");
    let foreign = tmux.by_hand(&["split-window", "-d", "-P", "-F", "#{pane_id}", "-t", &pane, "--", "cat"]);
    tmux.by_hand(&["send-keys", "-t", &foreign, "-l", "theirs"]);
    assert_eq!(tmux.meant(&window), (json!("a"), json!(0)), "the worker's pane comes first");
    assert_eq!(tmux.json(&["resolve", &foreign])["worker"], Value::Null);
    let _ = tmux.lane(&["read", &foreign]).ok();
    for arguments in [&["send", &foreign, "x"][..], &["stop", &foreign], &["split", &foreign]] {
        tmux.fails(arguments, 5, "not_our_pane");
    }
    tmux.lane(&["stop", "a"]).ok();
    let left = tmux.by_hand(&["list-panes", "-a", "-F", "#{pane_id}"]);
    assert!(left.lines().any(|id| id == foreign), "{left}");
}

#[test]
fn a_linked_window_is_one_window_and_a_renamed_session_is_followed() {
    let tmux = Tmux::new();
    let (_, pane, window) = tmux.run_cat("a");
    tmux.by_hand(&["link-window", "-d", "-s", &window, "-t", "people:"]);
    for target in [&pane, &window, "laneway:a", "people:a"] {
        assert_eq!(tmux.meant(target), (json!("a"), json!(0)), "{target}");
    }
    tmux.by_hand(&["rename-session", "-t", "=laneway", "fresh"]);
    let moved = |seen: &Value| seen["data"]["to"]["session"] == "fresh";
    tmux.wait_for_event("worker.pane.moved", moved);
    assert_eq!(tmux.meant("fresh:a"), (json!("a"), json!(0)));
    let _ = fails(&tmux.world, &["resolve", "laneway:a"], 3, "not_found");
}

#[test]
fn sessions_and_windows_that_are_called_like_ids_are_no_ids() {
    let tmux = Tmux::new();
    let (_, pane, window) = tmux.run_cat("a");
    for name in ["@4", "%4", "$0", &window, &pane] {
        tmux.by_hand(&["new-session", "-d", "-s", name, "-n", &window, "--", "cat", "-u"]);
    }
    let theirs = || tmux.by_hand(&["list-panes", "-a", "-F", "#{pane_id} #{pane_pid} #{session_name}"]);
    let before: Vec<String> =
        theirs().lines().filter(|line| !line.ends_with(" laneway")).map(str::to_owned).collect();
    assert_eq!(tmux.meant(&window), (json!("a"), json!(0)));
    assert_eq!(tmux.meant(&pane), (json!("a"), json!(0)));
    tmux.lane(&["send", &window, "--enter", "to the worker"]).ok();
    tmux.wait_for_output("a", "to the worker");
    tmux.lane(&["restart", "a"]).ok();
    tmux.lane(&["stop", &window]).ok();
    let after = theirs();
    assert!(before.iter().all(|line| after.contains(line.as_str())), "{before:?} {after}");
    assert_eq!(
        after.lines().filter(|line| line.ends_with(" laneway")).count(),
        1,
        "only what keeps it: {after}"
    );
}

#[test]
fn a_live_pane_whose_servers_socket_was_taken_by_another_server_is_not_taken_to_be_gone() {
    let tmux = Tmux::new();
    let (worker, pane, _) = tmux.run_cat("a");
    let aside = tmux.world.root().join("aside");
    fs::rename(&tmux.socket, &aside).unwrap();
    tmux.start();
    // The daemon loses its connection, and finds the other server where this one was.
    let control = |socket: &std::path::Path| {
        let list = ["list-sessions", "-F", "#{session_name}"];
        let said = finish(tmux.world.program("tmux").arg("-S").arg(socket).args(list), b"").ok().out();
        said.lines().find(|name| name.starts_with("laneway-control")).map(str::to_owned)
    };
    let old = control(&aside).unwrap();
    let kill = ["kill-session", "-t", &format!("={old}")];
    let _ = finish(tmux.world.program("tmux").arg("-S").arg(&aside).args(kill), b"").ok();
    // What is asked over a connection that is just ending is to be repeated, and that is said.
    let send = |text: &str| {
        let typing = ["send", "a", "--enter", text, "--json"];
        let sent = tmux.lane(&typing);
        if sent.code == 6 && sent.json()["error"]["code"] == "tmux_disconnected" {
            tmux.lane(&typing)
        } else {
            sent
        }
    };
    let refused = send("x").json()["error"].clone();
    assert_eq!(refused["code"], "tmux_hidden", "{refused}");
    assert!(tmux.lane(&["resolve", "%0", "--json"]).code == 0, "the other server is looked at");
    let now = tmux.world.worker("a");
    assert_eq!((&now["status"], &now["pane_id"]), (&json!("running"), &json!(pane)));
    // Once its socket is there again, all is as before.
    tmux.by_hand(&["kill-server"]);
    fs::rename(&aside, &tmux.socket).unwrap();
    send("again").ok();
    tmux.wait_for_output("a", "again");
    assert_eq!(tmux.world.worker("a")["pid"], worker["pid"]);
}
