//! Terminals of workers, from outside: what `send` types and `read` shows, and that nobody has to look on.

use std::fs;
use std::path::Path;

use laneway_testkit::{TestEnvironment, screen};
use laneway_wire::message::Lines;
use serde_json::Value;

use crate::environment;

/// The tty takes every byte as it is, and shows none by itself.
const RAW: &str = "stty -icanon -isig -ixon -icrnl -echo";

/// Starts a program that reads so many bytes into the file `got` and then says `done`.
#[track_caller]
fn raw_reader(world: &TestEnvironment, name: &str, n_bytes: usize) -> std::path::PathBuf {
    let script = format!("{RAW}; echo ready; head -c {n_bytes} > got; echo done; read -r _");
    let run = world.start(name, &["bash", "-c", &script]);
    screen::wait_for_line(&run, "ready");
    run
}

/// Starts `cat` into the file `got`, on a tty as programs find it.
#[track_caller]
fn line_reader(world: &TestEnvironment, name: &str) -> std::path::PathBuf {
    let run = world.start(name, &["bash", "-c", "echo ready; exec cat > got"]);
    screen::wait_for_line(&run, "ready");
    run
}

/// Ends what was typed at a `cat`, waits for its end, and gives what it got.
#[track_caller]
fn end_of_input(world: &TestEnvironment, name: &str) -> Vec<u8> {
    let id = world.worker(name)["id"].as_str().unwrap().to_owned();
    world.lane(&["send", name, "--raw", "\x04"]).ok();
    world.wait_for_exit(&id);
    fs::read(world.worktree(name).join("got")).unwrap()
}

fn lines(view: &Value) -> Vec<&str> {
    view["lines"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect()
}

#[test]
fn what_is_sent_arrives_as_it_was_written() {
    let world = environment();
    line_reader(&world, "a");
    world.lane(&["send", "a", "--enter", "it's \"quoted\"; $(not run) `nor this` \\n *", "and", ";"]).ok();
    world.lane(&["send", "a", "--enter", "--", "--raw", "-n", "-e"]).ok();
    world.lane(&["send", "a", "--enter", "Grüße 漢字 👩\u{200d}🚀 e\u{301}"]).ok();
    world.lane(&["send", "a", "two lines\nat once\n"]).ok();
    world.lane_with_input(&["send", "a"], b"from a pipe\n").ok();
    world.lane_with_input(&["send", "a", "--enter"], b"").ok();
    let expected = "it's \"quoted\"; $(not run) `nor this` \\n * and ;\n--raw -n -e\n\
                    Grüße 漢字 👩\u{200d}🚀 e\u{301}\ntwo lines\nat once\nfrom a pipe\n\n";
    assert_eq!(String::from_utf8(end_of_input(&world, "a")).unwrap(), expected);
}

#[test]
fn what_a_line_terminal_would_cut_or_act_upon_is_refused_unless_raw() {
    let world = environment();
    line_reader(&world, "a");
    let (fits, long) = ("y".repeat(4_095), "x".repeat(4_096));
    let refused = world.lane(&["send", "a", &long]).code(5);
    assert!(refused.err().contains("4096") && refused.err().contains("--raw"), "{refused}");
    for control in ["\x03", "a\x04", "\x1a", "\x15", "\x7f"] {
        let refused = world.lane(&["send", "a", control]).code(5);
        assert!(refused.err().contains("--raw"), "{refused}");
    }
    world.lane(&["send", "a", "--enter", &fits]).ok();
    // Ctrl-u takes back what was typed of a line.
    world.lane(&["send", "a", "--raw", "not this\x15but this\n"]).ok();
    // Cut by the terminal, as was wanted.
    world.lane(&["send", "a", "--raw", &format!("{long}\n")]).ok();
    let got = end_of_input(&world, "a");
    let cut = &long[..4_095];
    assert_eq!(String::from_utf8(got).unwrap(), format!("{fits}\nbut this\n{cut}\n"));
}

#[test]
fn a_mebibyte_from_a_pipe_reaches_a_program_that_takes_raw_keys() {
    let world = environment();
    let text: Vec<u8> = (0..1_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let run = raw_reader(&world, "a", text.len());
    world.lane_with_input(&["send", "a"], &text).ok();
    screen::wait_for_line(&run, "done");
    assert!(fs::read(world.worktree("a").join("got")).unwrap() == text, "it arrived changed");
}

#[test]
fn more_than_can_be_sent_is_refused_whole() {
    let world = environment();
    let run = raw_reader(&world, "a", 1);
    let refused = world.lane_with_input(&["send", "a"], &vec![b'x'; (16 << 20) + 1]).code(2);
    assert!(refused.err().contains("16 MiB"), "{refused}");
    world.lane(&["send", "a", "y"]).ok();
    screen::wait_for_line(&run, "done");
    assert_eq!(fs::read(world.worktree("a").join("got")).unwrap(), b"y");
}

#[test]
fn nothing_can_be_sent_to_a_program_that_has_ended() {
    let world = environment();
    world.start("a", &["cat"]);
    let id = world.worker("a")["id"].as_str().unwrap().to_owned();
    world.lane(&["send", "a", "--raw", "\x04"]).ok();
    world.wait_for_exit(&id);
    for flags in [&["send", "a", "text"][..], &["send", "a", "--raw", "text"]] {
        let refused = world.lane(flags).code(5);
        assert!(refused.err().contains("ended"), "{refused}");
    }
    assert_eq!(world.lane(&["send", "nobody", "text"]).code, 3);
}

#[test]
fn the_answer_to_what_was_sent_comes_after_the_offset_that_is_told() {
    let world = environment();
    let run = world.start("a", &["fake-agent", "ready", "echo"]);
    let before = screen::wait_for_line(&run, "ready").offset;
    let sent = world.json(&["send", "a", "--enter", "hello"]);
    let after = screen::wait_for_line(&run, "heard hello").offset;
    let offset = sent["offset"].as_u64().unwrap();
    assert!(before <= offset && offset < after, "{before} {offset} {after}");
}

#[test]
fn wide_combining_and_joined_characters_are_read_as_they_were_sent() {
    let world = environment();
    let run = world.start("a", &["bash", "-c", "stty -echo; echo ready; exec cat"]);
    screen::wait_for_line(&run, "ready");
    let said = ["漢字かな交じり文", "e\u{301}a\u{308}o\u{328}", "👩\u{200d}🚀 🇪🇺 ❤\u{fe0f}", "مرحبا עברית"];
    for line in said {
        world.lane(&["send", "a", "--enter", line]).ok();
    }
    screen::wait_for_line(&run, said[3]);
    assert_eq!(lines(&world.json(&["read", "a"])), [&["ready"], &said[..]].concat());
    // Wide characters fill two cells: the cursor stands below the last line, at the left.
    let view = world.json(&["read", "a", "--screen"]);
    assert_eq!((&view["cursor"]["column"], &view["cursor"]["row"]), (&0.into(), &5.into()));
}

#[test]
fn wrapped_lines_are_read_whole_also_when_a_wide_character_wraps() {
    let world = environment();
    let long = "0123456789".repeat(20);
    let wide = format!("x{}", "漢".repeat(60));
    let script = format!("echo {long}; echo {wide}; echo end; read -r _");
    let run = world.start("a", &["bash", "-c", &script]);
    screen::wait_for_line(&run, "end");
    assert_eq!(lines(&world.json(&["read", "a"])), [long.as_str(), &wide, "end"]);
    let rows = world.json(&["read", "a", "--screen"]);
    assert_eq!(lines(&rows)[..3], [&long[..80], &long[..80], &long[..40]]);
    assert_eq!(lines(&rows)[3], format!("x{}", "漢".repeat(39)), "the fortieth does not fit");
}

#[test]
fn read_gives_what_was_asked_for() {
    let world = environment();
    let script =
        "printf '\\033]2;a title\\007'; seq 1 200; printf '\\033[1;31mred\\033[0m\\n'; printf end; read -r _";
    let run = world.start("a", &["bash", "-c", script]);
    screen::wait_for_line(&run, "end");

    assert_eq!(world.lane(&["read", "a", "--lines", "3"]).ok().out(), "200\nred\nend\n");
    assert_eq!(world.lane(&["read", "a"]).ok().out().lines().count(), 100);
    let all: Vec<String> = (1..=200).map(|n| n.to_string()).chain(["red".into(), "end".into()]).collect();
    assert_eq!(lines(&world.json(&["read", "a", "--all"])), all);
    let screen = world.json(&["read", "a", "--screen"]);
    assert_eq!(lines(&screen), all[all.len() - 24..]);

    assert_eq!(screen["cursor"], serde_json::json!({"column": 3, "row": 23, "visible": true}));
    assert_eq!(screen["size"], serde_json::json!({"columns": 80, "rows": 24}));
    assert_eq!(screen["alternate_screen"], false);
    assert_eq!(screen["title"], "a title");
    assert_eq!(screen["offset"], screen::read(&run, Lines::Screen).offset);

    let styled = world.lane(&["read", "a", "--lines", "2", "--ansi"]).ok().out();
    let red = styled.lines().next().unwrap();
    assert!(red.contains("red") && red.contains('\x1b') && red.contains("31"), "{red:?}");
    assert_eq!(styled.lines().nth(1), Some("end"));
    assert_eq!(world.lane(&["read", "a", "--all", "--screen"]).code, 2);
}

#[test]
fn a_run_that_has_ended_is_still_read() {
    let world = environment();
    let run =
        world.start("a", &["bash", "-c", "read -r _; seq 1 100; printf '\\033[1;31mred\\033[0m'; exit 3"]);
    let id = world.worker("a")["id"].as_str().unwrap().to_owned();
    world.lane(&["send", "a", "--enter", ""]).ok();
    assert_eq!(world.wait_for_exit(&id)["data"]["exit"]["code"], 3);
    the_holder_leaves(&world, &run);
    // First the echo of the return key.
    let numbers = (1..=100).map(|n| n.to_string());
    let all: Vec<String> = [String::new()].into_iter().chain(numbers).chain(["red".into()]).collect();
    let view = world.json(&["read", "a", "--all"]);
    assert_eq!(lines(&view), all);
    assert_eq!(view["size"], serde_json::json!({"columns": 80, "rows": 24}));
    assert_eq!(lines(&world.json(&["read", "a", "--screen"])), all[all.len() - 24..]);
    assert_eq!(lines(&world.json(&["read", "a", "--lines", "2"])), ["100", "red"]);
    let styled = world.lane(&["read", "a", "--lines", "1", "--ansi"]).ok().out();
    assert!(styled.contains('\x1b') && styled.contains("red"), "{styled:?}");
    // Of a killed daemon's time nothing is lost.
    world.kill_the_daemon();
    assert_eq!(lines(&world.json(&["read", "a", "--all"])), all);
}

/// Waits until a run's holder has left, which it does when the daemon knows of the end.
#[track_caller]
fn the_holder_leaves(world: &TestEnvironment, run: &Path) {
    if let Some(process) = holder_of(world, run).and_then(laneway_testkit::process::open) {
        assert!(laneway_testkit::process::ends_within(&process, laneway_testkit::LIMIT));
    }
}

/// The process of a run's holder.
pub(crate) fn holder_of(world: &TestEnvironment, run: &Path) -> Option<u32> {
    let run = run.to_str().unwrap();
    let all = laneway_testkit::process::belonging_to(world.root());
    all.iter().find(|(_, shown)| shown.contains("lane-holder") && shown.contains(run)).map(|(pid, _)| *pid)
}

#[test]
fn a_task_on_pipes_is_read_and_typed_at() {
    let world = environment();
    world.lane(&["new", "a"]).ok();
    let task = world.lane(&["exec", "a", "--detach", "--", "fake-agent", "say", "out", "complain", "err"]);
    let id = task.ok().out().trim_end().to_owned();
    world.wait_for_exit(&id);
    let view = world.json(&["read", &id]);
    assert_eq!(lines(&view), ["out"]);
    assert_eq!(view["stderr_lines"], serde_json::json!(["err"]));
    assert!(view["cursor"].is_null() && view["size"].is_null(), "{view}");
    let read = world.lane(&["read", &id]).ok();
    assert_eq!((read.out().as_str(), read.err().as_str()), ("out\n", "err\n"));
}

#[test]
fn fifty_megabytes_pass_with_nobody_looking_on() {
    let world = environment();
    let script = "stty -opost; fake-agent flood 50000000; printf '\\033c\\r\\nover\\r\\n'";
    world.start("a", &["bash", "-c", script]);
    let id = world.worker("a")["id"].as_str().unwrap().to_owned();
    assert_eq!(world.wait_for_exit(&id)["data"]["exit"]["code"], 0);
    let view = world.json(&["read", "a", "--lines", "1"]);
    assert_eq!(lines(&view), ["over"]);
    // Questions of the terminal that happen to be among them are not counted.
    let offset = view["offset"].as_u64().unwrap();
    assert!((49_000_000..=50_000_100).contains(&offset), "{offset} bytes came");
}
