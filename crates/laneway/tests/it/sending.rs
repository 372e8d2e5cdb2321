//! `lane send` beyond plain text: keys, pastes, standard input, and programs that do not read.

use std::fs;
use std::path::{Path, PathBuf};

use laneway_testkit::{TestEnvironment, screen};
use serde_json::json;

use crate::environment;
use crate::support::{Pipe, fails, has_failed};

/// Starts a program that sets the tty and these modes, says `ready`, waits for a line from the pipe if there is one,
/// and then reads so many bytes into the file `got`.
#[track_caller]
fn reader(world: &TestEnvironment, modes: &str, wait: Option<&Pipe>, n_bytes: usize) -> PathBuf {
    let wait = wait.map(|pipe| format!("read -r _ < {};", pipe.text())).unwrap_or_default();
    let script = format!(
        "stty raw -echo; printf '{modes}'; echo ready; {wait} head -c {n_bytes} > got; echo done; read -r _"
    );
    let run = world.start("a", &["bash", "-c", &script]);
    screen::wait_for_line(&run, "ready");
    run
}

#[track_caller]
fn got(world: &TestEnvironment, run: &Path) -> Vec<u8> {
    screen::wait_until(run, "done", |text| text.lines.iter().any(|line| line.trim() == "done"));
    fs::read(world.worktree("a").join("got")).unwrap()
}

#[track_caller]
fn check(modes: &str, sends: &[&[&str]], expected: &[u8]) {
    let world = environment();
    let run = reader(&world, modes, None, expected.len());
    for send in sends {
        world.lane(&[&["send", "a"], *send].concat()).ok();
    }
    let got = got(&world, &run);
    assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(expected));
}

#[test]
fn keys_come_after_the_text_and_before_return() {
    let sends = [
        &["text", "--key", "up", "--key", "ctrl-a", "--enter"][..],
        &["--key", "F5", "--key", "alt-x", "--key", "shift-tab", "--key", "-"],
    ];
    check("", &sends, b"text\x1b[A\x01\r\x1b[15~\x1bx\x1b[Z-");
}

#[test]
fn cursor_keys_follow_the_mode_in_force() {
    check("\\033[?1h", &[&["--key", "up", "--key", "left", "--key", "ctrl-up"]], b"\x1bOA\x1bOD\x1b[1;5A");
    check("\\033[>1u", &[&["--key", "ctrl-c", "--key", "escape"]], b"\x1b[99;5u\x1b[27u");
}

#[test]
fn a_paste_has_brackets_where_the_program_wants_them_and_cannot_end_itself() {
    let send = &["--paste", "--enter", "two\nlines\x1b[201~;rm"][..];
    check("\\033[?2004h", &[send], b"\x1b[200~two\nlines;rm\x1b[201~\r");
    check("", &[send], b"two\nlines;rm\r");
}

#[test]
fn a_dash_is_standard_input_and_every_byte_of_it_arrives() {
    let world = environment();
    let text: Vec<u8> = (0..=255).chain(*b"--enter; -n $(x) 'q' \"\r\n").collect();
    let run = reader(&world, "", None, text.len() + 1);
    world.lane_with_input(&["send", "a", "-", "--key", "x"], &text).ok();
    assert_eq!(got(&world, &run), [&text[..], b"x"].concat());
}

#[test]
fn keys_alone_do_not_wait_for_standard_input() {
    let world = environment();
    let run = reader(&world, "", None, 1);
    // A pipe that is open and stays empty.
    let idle = Pipe::new(&world, "idle");
    let mut command = world.program("sh");
    command.args(["-c", &format!("lane send a --key y < {}", idle.text())]);
    laneway_testkit::process::finish(&mut command, b"").ok();
    assert_eq!(got(&world, &run), b"y");
}

#[test]
fn an_editor_is_driven_by_keys() {
    let world = environment();
    let run = world.start("a", &["vim", "-N", "-u", "NONE", "-n", "new.txt"]);
    screen::wait_until(&run, "an empty file", |text| text.lines.iter().any(|line| line.contains("new.txt")));
    world.lane(&["send", "a", "ione line", "--enter"]).ok();
    world.lane(&["send", "a", "another", "--key", "up", "--key", "end"]).ok();
    world.lane(&["send", "a", " more", "--key", "escape"]).ok();
    world.lane(&["send", "a", ":wq", "--enter"]).ok();
    let id = world.worker("a")["id"].as_str().unwrap().to_owned();
    assert_eq!(world.wait_for_exit(&id)["data"]["exit"]["code"], 0);
    let written = fs::read_to_string(world.worktree("a").join("new.txt")).unwrap();
    assert_eq!(written, "one line more\nanother\n");
}

#[test]
fn a_key_that_is_none_is_a_usage_error_with_the_nearest_and_nothing_is_typed() {
    let world = environment();
    let run = reader(&world, "", None, 1);
    let error = fails(&world, &["send", "a", "text", "--key", "pagedwon"], 2, "unknown_key");
    assert!(error["message"].as_str().unwrap().contains("pagedown"), "{error}");
    assert_eq!(world.lane(&["send", "a", "--key", ""]).code, 2);
    assert_eq!(world.lane(&["send", "a", "--key", "up down"]).code, 2);
    world.lane(&["send", "a", "!"]).ok();
    assert_eq!(got(&world, &run), b"!");
}

#[test]
fn what_a_program_does_not_read_is_dropped_in_time_and_counted() {
    let world = environment();
    let go = Pipe::new(&world, "go");
    // It reads exactly what is said to have arrived, and then what is sent afterwards.
    let script = format!(
        "stty raw -echo; echo ready; read -r n < {0}; head -c $n > got; echo half; head -c 5 >> got; echo done; read -r _ < {0}",
        go.text()
    );
    let run = world.start("a", &["bash", "-c", &script]);
    screen::wait_for_line(&run, "ready");
    let text: Vec<u8> = (0..1_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let failed = world.lane_with_input(&["send", "a", "--timeout", "0.3s", "--json"], &text);
    let error = has_failed(&failed, 124, "not_read");
    let (n_written, n_dropped) =
        (error["details"]["n_written"].as_u64().unwrap(), error["details"]["n_dropped"].as_u64().unwrap());
    assert!(n_written > 0 && n_written + n_dropped == text.len() as u64, "{error}");
    let said = format!("{n_written} of {} bytes", text.len());
    assert!(error["message"].as_str().unwrap().contains(&said), "{error}");
    fs::write(&go.path, format!("{n_written}\n")).unwrap();
    screen::wait_until(&run, "half", |text| text.lines.iter().any(|line| line.trim() == "half"));
    world.lane(&["send", "a", "after"]).ok();
    assert!(got(&world, &run) == [&text[..n_written as usize], b"after"].concat(), "it is another text");
    go.go();
}

#[test]
fn a_paste_that_is_cut_off_is_still_ended() {
    let world = environment();
    let go = Pipe::new(&world, "go");
    let script = format!(
        "stty raw -echo; printf '\\033[?2004h'; echo ready; read -r n < {0}; head -c $n > got; echo done; read -r _ < {0}",
        go.text()
    );
    let run = world.start("a", &["bash", "-c", &script]);
    screen::wait_for_line(&run, "ready");
    let failed =
        world.lane_with_input(&["send", "a", "--paste", "--timeout", "0.3s", "--json"], &vec![b'x'; 1 << 20]);
    let n_written = has_failed(&failed, 124, "not_read")["details"]["n_written"].as_u64().unwrap() as usize;
    fs::write(&go.path, format!("{}\n", n_written + 6)).unwrap();
    let got = got(&world, &run);
    assert!(got.starts_with(b"\x1b[200~xxx") && got.ends_with(b"xxx\x1b[201~"), "{} bytes", got.len());
    go.go();
}

#[test]
fn what_takes_long_to_be_read_is_counted_on_a_terminal() {
    let world = environment();
    let go = Pipe::new(&world, "go");
    let text = "x".repeat(100_000);
    let run = reader(&world, "", Some(&go), text.len());
    let mut window = world.window(&["send", "a", &text], 80, 24);
    window.wait_for(" of 98 KiB … ");
    go.go();
    window.wait_until_left_with(0);
    assert!(window.all_lines().iter().all(|line| !line.contains('…')), "{:?}", window.all_lines());
    assert_eq!(got(&world, &run).len(), text.len());
    window.close();
}

#[test]
fn the_offset_is_that_of_the_moment_of_sending() {
    let world = environment();
    let run = world.start("a", &["fake-agent", "ready", "echo"]);
    let before = screen::wait_for_line(&run, "ready").offset;
    assert_eq!(world.json(&["send", "a", "--enter", "hello"]), json!({"offset": before}));
}
