//! `lane read --follow`, `--since` and `lane logs`: lines as they come, and all that is kept.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Stdio};

use laneway_testkit::process::{self, ends_within, readable_within};
use laneway_testkit::{Finished, LIMIT, TestEnvironment, screen};
use serde_json::{Value, json};

use crate::environment;
use crate::support::{Pipe, fails, json_lines};
use crate::terminals::holder_of;

/// A command that goes on and prints, beside the test.
struct Following {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Following {
    #[track_caller]
    fn begin(world: &TestEnvironment, arguments: &[&str]) -> Self {
        let mut command = world.lane_command(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("lane can be started");
        let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        Self { child, stdout }
    }

    /// The next line, without its end; waits for it.
    #[track_caller]
    fn line(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            let is_there = !self.stdout.buffer().is_empty() || readable_within(self.stdout.get_ref(), LIMIT);
            assert!(is_there, "nothing more came after {line:?}");
            let read = self.stdout.by_ref().take(1).read_until(b'\n', &mut line).unwrap();
            assert!(read > 0, "it ended after {line:?}");
        }
        String::from_utf8(line).unwrap().trim_end_matches('\n').to_owned()
    }

    /// Waits until it has ended; gives what it has printed since.
    #[track_caller]
    fn end(mut self) -> Finished {
        let mut stdout = Vec::new();
        self.stdout.read_to_end(&mut stdout).unwrap();
        let process = process::open(self.child.id()).expect("a child that is not reaped has a pidfd");
        assert!(ends_within(&process, LIMIT), "it goes on");
        let output = self.child.wait_with_output().unwrap();
        let code = output.status.code().expect("it ended by itself");
        Finished { code, stdout, stderr: output.stderr, called: "lane".to_owned() }
    }

    #[track_caller]
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn each_line_is_printed_when_it_is_finished_and_the_last_one_at_the_end() {
    let world = environment();
    let run = world.start("a", &["bash", "-c", "stty -echo; seq 5; printf 'name? '; read -r name; echo $name; printf 'no end'; read -r _; exit 3"]);
    screen::wait_for_line(&run, "name?");
    let mut following = Following::begin(&world, &["read", "a", "--follow", "--lines", "3"]);
    assert_eq!([following.line(), following.line()], ["4", "5"], "the unfinished one is the third");
    world.lane(&["send", "a", "--enter", "Ada"]).ok();
    assert_eq!(following.line(), "name? Ada");
    screen::wait_for_line(&run, "no end");
    world.kill_the_daemon();
    world.lane(&["send", "a", "--enter", ""]).ok();
    let end = following.end().ok();
    assert_eq!(end.out(), "no end\n");
    assert_eq!(end.err(), "(a has ended: exited 3)\n");
    // The same of one that has ended.
    let again = world.lane(&["read", "a", "--follow", "--lines", "2"]).ok();
    assert_eq!(again.out(), "name? Ada\nno end\n");
}

#[test]
fn json_lines_have_numbers_and_tell_what_changed_and_how_it_ended() {
    let world = environment();
    let go = Pipe::new(&world, "go");
    let script = format!(
        "echo one; echo two; read -r _ < {0}; printf '\\033[2A\\033[2Kchanged\\033[2B\\r'; read -r _ < {0}",
        go.text()
    );
    let run = world.start("a", &["bash", "-c", &script]);
    screen::wait_for_line(&run, "two");
    let mut following = Following::begin(&world, &["read", "a", "--follow", "--json"]);
    let mut next = || -> Value { serde_json::from_str(&following.line()).unwrap() };
    let (one, two) = (next(), next());
    let expected =
        json!({"kind": "line", "stream": "terminal", "number": one["number"], "text": "one", "again": false});
    assert_eq!((&one, &two["text"]), (&expected, &json!("two")));
    go.go();
    let expected = json!({"kind": "line", "stream": "terminal", "number": one["number"], "text": "changed", "again": true});
    assert_eq!(next(), expected);
    go.go();
    let end = following.end().ok();
    assert_eq!(json_lines(&end.stdout), [json!({"kind": "ended", "exit": {"kind": "code", "code": 0}})]);
    assert_eq!(end.err(), "");
}

#[test]
fn a_full_screen_program_is_told_of_once_and_its_picture_is_not_printed() {
    let world = environment();
    let run = world.start("a", &["bash", "--norc"]);
    world.lane(&["send", "a", "--enter", "PS1='% '; vim -N -u NONE -n new.txt"]).ok();
    screen::wait_until(&run, "the editor", |text| text.alternate_screen);
    let mut following = Following::begin(&world, &["read", "a", "--follow", "--lines", "1"]);
    assert!(following.line().contains("vim -N"), "the line that it was called with");
    world.lane(&["send", "a", "ihidden", "--key", "escape"]).ok();
    world.lane(&["send", "a", ":q!", "--enter"]).ok();
    screen::wait_until(&run, "the shell", |text| !text.alternate_screen);
    world.lane(&["send", "a", "--enter", "echo back; exit"]).ok();
    let end = following.end().ok();
    assert!(end.out().contains("echo back") && end.out().contains("\nback\n"), "{end}");
    assert!(!end.out().contains("hidden"), "{end}");
    assert_eq!(end.err().matches("full screen").count(), 1, "{end}");
}

#[test]
fn a_flood_is_followed_in_bounded_memory_to_its_last_line() {
    let world = environment();
    let run = world.start("a", &["bash", "-c", "echo ready; read -r _; seq 1 600000; echo over; read -r _"]);
    let mut following = Following::begin(&world, &["read", "a", "--follow", "--json"]);
    assert!(following.line().contains("ready"));
    world.lane(&["send", "a", "--enter", ""]).ok();
    let (mut n_lines, mut last, mut missed) = (0, 0, false);
    loop {
        let item: Value = serde_json::from_str(&following.line()).unwrap();
        missed |= item["kind"] == "missed";
        let text = item["text"].as_str().unwrap_or_default();
        if text == "over" {
            break;
        }
        if let Ok(number) = text.parse::<u64>() {
            // In order, each once, and without a gap that is not told.
            if number != last + 1 {
                assert!(number > last && missed, "{last}, then {number}");
                missed = false;
            }
            (n_lines, last) = (n_lines + 1, number);
        }
    }
    assert_eq!(last, 600_000);
    assert!(n_lines >= 10_000, "{n_lines} lines came");
    let memory = |pid: u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    };
    let (client, holder) = (memory(following.child.id()), memory(holder_of(&world, &run).unwrap()));
    assert!(client < 64 << 10 && holder < 64 << 10, "at most {client} and {holder} KiB");
    following.kill();
}

#[test]
fn nobody_who_reads_ends_it() {
    let world = environment();
    let run = world.start("a", &["fake-agent", "ready", "wait"]);
    screen::wait_for_line(&run, "ready");
    let mut following = Following::begin(&world, &["read", "a", "--follow"]);
    assert_eq!(following.line(), "ready");
    let Following { child, stdout } = following;
    drop(stdout);
    let process = process::open(child.id()).unwrap();
    assert!(ends_within(&process, LIMIT), "nothing is printed any more, and it waits on");
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
}

#[test]
fn a_task_on_pipes_is_followed_on_both_streams() {
    let world = environment();
    let go = Pipe::new(&world, "go");
    world.lane(&["new", "a"]).ok();
    let script = r#"seq 5; echo err >&2; read go < "$1"; printf 'more\nno end'; exit 1"#;
    let task = world.lane(&["exec", "a", "--detach", "--", "sh", "-c", script, "sh", go.text()]);
    let id = task.ok().out().trim_end().to_owned();
    world.lane(&["wait", &id, "--for", "output=err"]).ok();
    let mut following = Following::begin(&world, &["read", &id, "--follow", "--lines", "2"]);
    assert_eq!([following.line(), following.line()], ["4", "5"]);
    go.go();
    let end = following.end().ok();
    assert_eq!(end.out(), "more\nno end\n");
    assert_eq!(end.err(), format!("err\n({id} has ended: exited 1)\n"));
    let all = json_lines(&world.lane(&["logs", &id, "--follow", "--json"]).ok().stdout);
    let texts: Vec<_> =
        all.iter().filter_map(|item| Some((item["stream"].as_str()?, item["text"].as_str()?))).collect();
    let expected: Vec<_> = ["1", "2", "3", "4", "5", "more", "no end"].map(|text| ("stdout", text)).into();
    assert_eq!(texts, [expected, vec![("stderr", "err")]].concat());
}

#[test]
fn a_holder_that_is_killed_ends_it_with_an_error() {
    let world = environment();
    let run = world.start("a", &["fake-agent", "ready", "wait"]);
    screen::wait_for_line(&run, "ready");
    let mut following = Following::begin(&world, &["read", "a", "--follow"]);
    assert_eq!(following.line(), "ready");
    process::kill(holder_of(&world, &run).unwrap());
    let end = following.end().code(1);
    assert_eq!((end.out().as_str(), end.err().as_str()), ("", "(a has ended: lost)\n"));
}

#[test]
fn what_is_read_since_an_offset_is_what_came_after_it_also_when_all_is_over() {
    let world = environment();
    let run = world.start("a", &["bash", "-c", "stty -echo; seq 100; read -r _; echo new; read -r _; exit"]);
    screen::wait_for_line(&run, "100");
    let offset = world.json(&["send", "a", "--enter", ""])["offset"].to_string();
    world.lane(&["wait", "a", "--for", "output=new", "--since", &offset]).ok();
    assert_eq!(world.lane(&["read", "a", "--since", &offset]).ok().out(), "new\n");
    let after = world.json(&["read", "a", "--since", &offset])["offset"].to_string();
    assert_eq!(world.lane(&["read", "a", "--since", &after]).ok().out(), "");
    assert_eq!(world.lane(&["read", "a", "--since", "0", "--lines", "2"]).ok().out(), "100\nnew\n");
    world.lane(&["send", "a", "--enter", ""]).ok();
    world.lane(&["wait", "a", "--for", "exit"]).ok();
    assert_eq!(world.lane(&["read", "a", "--since", &offset]).ok().out(), "new\n");
    assert_eq!(world.lane(&["read", "a", "--since", &offset, "--follow"]).ok().out(), "new\n");
    assert_eq!(world.lane(&["read", "a", "--since", "0", "--screen"]).code, 2);
}

#[test]
fn logs_are_all_that_is_kept_of_a_run() {
    let world = environment();
    let run = world.start("a", &["bash", "-c", "seq 500; printf '\\033[1mbold\\033[m\\n'; read -r _"]);
    screen::wait_for_line(&run, "bold");
    let all: Vec<String> = (1..=500).map(|n| n.to_string()).chain(["bold".to_owned()]).collect();
    let lines =
        |finished: Finished| -> Vec<String> { finished.ok().out().lines().map(str::to_owned).collect() };
    assert_eq!(lines(world.lane(&["logs", "a"])), all);
    assert_eq!(lines(world.lane(&["logs", "a", "--run", "1"])), all);
    assert_eq!(world.json(&["logs", "a"])["lines"].as_array().unwrap().len(), 501);
    assert!(world.lane(&["logs", "a", "--ansi"]).ok().out().contains("\x1b[0;1mbold"));
    let error = fails(&world, &["logs", "a", "--run", "7"], 3, "no_such_run");
    assert!(error["message"].as_str().unwrap().contains("its latest is 1"), "{error}");
    let mut following = Following::begin(&world, &["logs", "a", "--follow"]);
    let followed: Vec<String> = (0..501).map(|_| following.line()).collect();
    assert_eq!(followed, all);
    world.lane(&["send", "a", "--enter", "end"]).ok();
    following.end().ok();
    assert_eq!(lines(world.lane(&["logs", "a"])).len(), 502, "of one that has ended, too");
}
