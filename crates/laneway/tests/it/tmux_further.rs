//! Further panes of workers in tmux: each verb that takes a terminal takes them.

use laneway_testkit::pty::Window;
use serde_json::json;

use crate::tmux_panes::Tmux;

/// A worker `a` that is `cat`, with a further pane in which this runs; that one's id.
#[track_caller]
fn with_further(program: &str) -> (Tmux, String) {
    let tmux = Tmux::new();
    tmux.run_cat("a");
    let added = tmux.json(&["split", "a", "--", "sh", "-c", program]);
    let id = added["pane"]["pane_id"].as_str().unwrap().to_owned();
    (tmux, id)
}

const ANSWERS: &str = "while read x; do echo \"said $x\"; done; exit 3";

#[test]
fn a_further_pane_is_waited_for() {
    let (tmux, _) = with_further(ANSWERS);
    tmux.lane(&["wait", "a:1", "--for", "idle=50ms", "--timeout", "1m"]).ok();
    let for_line = ["wait", "a:1", "--for", "output=said (hello|.*late)", "--timeout", "1m"];
    let line = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| tmux.lane(&for_line));
        tmux.lane(&["send", "a:1", "--enter", "hello"]).ok();
        waiting.join().unwrap()
    });
    assert_eq!(line.ok().out(), "said hello\n");
    tmux.fails(&["wait", "a:1", "--for", "output=never", "--timeout", "100ms"], 124, "timed_out");
    tmux.fails(&["wait", "a:1", "--for", "state=running"], 2, "pane_without_runs");
    let for_end = ["wait", "a", "--pane", "1", "--for", "exit", "--timeout", "1m"];
    let told = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| tmux.json(&for_end));
        tmux.lane(&["send", "a:1", "--key", "ctrl-d"]).ok();
        waiting.join().unwrap()
    });
    assert_eq!((&told["pane"], &told["exit"]["code"]), (&json!(1), &json!(3)), "{told}");
    // It has ended, and its pane stays.
    tmux.lane(&["wait", "a:1", "--for", "exit"]).ok();
    tmux.lane(&["wait", "a:1", "--for", "output=said hello"]).ok();
    tmux.fails(&["wait", "a:1", "--for", "output=never"], 1, "ended_before");
    tmux.fails(&["send", "a:1", "x"], 5, "ended");
    let mut shown = tmux.world.window(&["attach", "a:1"], 80, 24);
    shown.wait_for("said hello");
    shown.wait_for("a:1 has ended: exited 3");
    shown.wait_until_left_with(0);
    assert_eq!(tmux.world.worker("a")["status"], "running", "its worker has not");
}

#[test]
fn what_is_waited_for_in_a_further_pane_that_is_closed_by_hand_cannot_come() {
    let (tmux, id) = with_further(ANSWERS);
    let told = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| tmux.lane(&["wait", "a:1", "--for", "exit", "--timeout", "1m"]));
        tmux.by_hand(&["kill-pane", "-t", &id]);
        waiting.join().unwrap()
    });
    // Or it was closed before it was looked for.
    assert!(told.code == 3 || told.out().contains("a:1 has ended: closed by hand"), "{told}");
    tmux.fails(&["wait", "a:1", "--for", "output=x"], 3, "no_such_pane");
    let mut attach = tmux.world.window(&["attach", "a:1"], 200, 24);
    attach.wait_for("its number is not given again");
    attach.wait_until_left_with(3);
}

#[test]
fn attaching_to_a_further_pane_selects_it_inside_tmux_and_outside() {
    let (tmux, id) = with_further("echo beside; exec cat");
    let active = || tmux.by_hand(&["display-message", "-p", "-t", "=laneway:=a", "#{pane_id}"]);
    assert_ne!(active(), id);
    let mut outside = tmux.world.window(&["attach", "a", "--pane", "1"], 80, 24);
    outside.wait_for("beside");
    assert_eq!(active(), id);
    let client = tmux.by_hand(&["list-clients", "-F", "#{session_name}"]);
    assert!(client.lines().any(|session| session == "laneway"), "{client}");
    tmux.by_hand(&["detach-client", "-s", "=laneway"]);
    outside.wait_until_left_with(0);
    tmux.by_hand(&["select-window", "-t", "=laneway:=laneway"]);
    tmux.by_hand(&["select-pane", "-t", "=laneway:=a.0"]);
    // A person in another session of it.
    let socket = tmux.socket.to_str().unwrap();
    let inside = ["tmux", "-S", socket, "attach", "-t", "=people"];
    let mut person = Window::open(tmux.world.program("setsid"), &inside, 80, 24);
    person.wait_for("[people]");
    let folder = tmux.world.worktree("fix");
    let window = ["new-window", "-t", "people:", "-c", folder.to_str().unwrap(), "--"];
    tmux.by_hand(&[&window[..], &[env!("CARGO_BIN_EXE_lane"), "attach", "a:1"]].concat());
    person.wait_for("[laneway]");
    person.wait_for("beside");
    assert_eq!(active(), id);
    tmux.by_hand(&["detach-client", "-s", "=laneway"]);
    person.wait_until_left_with(0);
}

#[test]
fn what_only_a_run_has_is_refused_for_a_further_pane_with_what_to_type() {
    let (tmux, id) = with_further("seq 200; exec cat");
    tmux.lane(&["wait", "a:1", "--for", "output=^200$", "--timeout", "1m"]).ok();
    let kept = tmux.lane(&["logs", "a", "--pane", "1"]).ok().out();
    assert!(kept.starts_with("1\n2\n") && kept.ends_with("200\n"), "{kept}");
    for verb in [&["logs", "a:1", "--follow"][..], &["read", "a:1", "--follow"]] {
        let refused = tmux.fails(verb, 5, "pane_not_followed");
        assert!(refused["hint"].as_str().unwrap().contains("lane read a:1 --all"), "{refused}");
    }
    let mut observer = tmux.world.window(&["attach", "a:1", "--observe"], 200, 24);
    observer.wait_for("lane read a:1");
    observer.wait_until_left_with(5);
    // A person's own pipe is left alone, and said.
    tmux.by_hand(&["pipe-pane", "-t", &id, "exec cat >/dev/null"]);
    let taken = tmux.fails(&["wait", "a:1", "--for", "output=never"], 1, "tmux_failed");
    assert!(taken["message"].as_str().unwrap().contains("command"), "{taken}");
    assert_eq!(tmux.by_hand(&["display-message", "-p", "-t", &id, "#{pane_pipe}"]), "1");
}

#[test]
fn a_pane_whose_program_has_ended_and_that_is_closed_then_is_not_shown_any_more() {
    let (tmux, id) = with_further("exit 3");
    tmux.lane(&["wait", "a:1", "--for", "exit"]).ok();
    assert_eq!(
        tmux.json(&["show", "a"])["worker"]["panes"][0]["pane_id"],
        json!(id),
        "it stays until it is closed"
    );
    tmux.by_hand(&["kill-pane", "-t", &id]);
    assert!(tmux.json(&["show", "a"])["worker"]["panes"].is_null(), "it has none");
    tmux.fails(&["read", "a:1"], 3, "no_such_pane");
}
