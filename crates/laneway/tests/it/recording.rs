//! Recorded runs, from `--record` to `lane replay`: the files outlive everything, any JSON reader reads them, and
//! a terminal that plays one is given back.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use laneway_testkit::process::{ends_within, finish, kill, open, signal};
use laneway_testkit::pty::Window;
use laneway_testkit::{LIMIT, TestEnvironment, screen};
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use serde_json::{Value, json};

use crate::environment;
use crate::support::{fails, parent};

/// The files of a worker's recording, as they are told.
#[track_caller]
fn files(world: &TestEnvironment, name: &str) -> Vec<PathBuf> {
    let shown = world.json(&["show", name]);
    let files = shown["worker"]["recording"]["files"].as_array().unwrap_or_else(|| panic!("{shown}"));
    files.iter().map(|file| PathBuf::from(file.as_str().unwrap())).collect()
}

/// What the events of a file show, as Python's reader of JSON understands it.
#[track_caller]
fn output_by_python(world: &TestEnvironment, file: &Path) -> String {
    let script = "import json, sys\n\
        lines = [json.loads(line) for line in open(sys.argv[1], encoding='utf-8')]\n\
        header, events = lines[0], lines[1:]\n\
        assert header['version'] == 2 and set(header['env']) == {'TERM', 'SHELL'}, header\n\
        assert isinstance(header['timestamp'], int) and header['width'] == 80, header\n\
        assert all(type(time) is float and code in 'or' and type(data) is str for time, code, data in events)\n\
        assert all(one[0] <= other[0] for one, other in zip(events, events[1:]))\n\
        sys.stdout.buffer.write(''.join(event[2] for event in events if event[1] == 'o').encode())";
    finish(world.program("python3").arg("-c").arg(script).arg(file), b"").ok().out()
}

/// A file that shows `one`, and an hour later `two`.
#[track_caller]
fn an_hour(world: &TestEnvironment, first: &str) -> String {
    let path = world.root().join("hour.cast");
    let mut file = fs::File::create(&path).unwrap();
    writeln!(file, "{}", json!({"version": 2, "width": 80, "height": 24})).unwrap();
    for (time, text) in [(0.0, first), (3600.0, "two\r\n"), (7200.0, "three\r\n")] {
        writeln!(file, "{}", json!([time, "o", text])).unwrap();
    }
    path.to_str().unwrap().to_owned()
}

#[test]
fn what_is_recorded_is_named_private_json_and_played_at_once_where_no_terminal_is() {
    let world = environment();
    let _ = world
        .lane(&["new", "a", "--record", "--", "sh", "-c", "printf '\\033[31mGrüße\\033[m\\n漢'; read x"])
        .ok();
    let run = world.run_folder("a");
    screen::wait_for_line(&run, "漢");
    let said = "\u{1b}[31mGrüße\u{1b}[m\r\n漢";
    let files = files(&world, "a");
    assert_eq!(files, [run.join("recording-000001.cast")]);
    assert_eq!(fs::metadata(&files[0]).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(output_by_python(&world, &files[0]), said);
    assert_eq!(world.lane(&["replay", "a"]).ok().out(), said, "while it runs");
    assert!(world.lane(&["show", "a"]).ok().out().contains(files[0].to_str().unwrap()));
    let path = files[0].to_str().unwrap();
    assert_eq!(world.lane(&["replay", path]).ok().out(), said);
    // What is typed is shown by the terminal's echo, and nowhere else.
    let _ = world.lane(&["send", "a", "x", "--enter"]).ok();
    world.wait_for_exit(world.worker("a")["id"].as_str().unwrap());
    assert_eq!(world.lane(&["replay", "a"]).ok().out(), format!("{said}x\r\n"), "and when it is over");
    let codes = fs::read_to_string(path).unwrap();
    assert!(!codes.contains("\"i\""), "{codes}");
}

#[test]
fn it_goes_on_without_a_daemon_and_what_has_ended_is_there_to_read_and_look_at() {
    let world = environment();
    let _ = world.lane(&["new", "a", "--record", "--", "fake-agent", "say", "first", "echo"]).ok();
    let run = world.run_folder("a");
    screen::wait_for_line(&run, "first");
    let id = world.worker("a")["id"].as_str().unwrap().to_owned();
    let program = open(world.pid("a")).unwrap();
    world.kill_the_daemon();
    // Typed past the daemon, which is not there.
    let mut holder = laneway_wire::client::Connection::open(&run, "test", LIMIT).unwrap().0;
    let send = laneway_wire::message::Send { text: b"more\r\x04".to_vec(), raw: true, ..Default::default() };
    holder.ask(&laneway_wire::ToHolder::Send(send)).unwrap();
    assert!(ends_within(&program, LIMIT));
    world.wait_for_exit(&id);
    let shown = "first\r\nmore\r\nheard more\r\n";
    assert_eq!(world.lane(&["replay", "a"]).ok().out(), shown);
    assert_eq!(output_by_python(&world, &files(&world, "a")[0]), shown);
    assert_eq!(world.json(&["read", "a"])["lines"], json!(["first", "more", "heard more"]));
    let mut window = world.window(&["attach", "a"], 80, 24);
    window.wait_for_row("heard more");
    window.wait_for("a has ended: ");
    window.wait_until_left_with(0);
}

#[test]
fn a_killed_holder_leaves_a_recording_that_plays() {
    let world = environment();
    let _ = world.lane(&["new", "a", "--record", "--", "fake-agent", "say", "shown", "wait"]).ok();
    screen::wait_for_line(&world.run_folder("a"), "shown");
    kill(parent(world.pid("a")).unwrap());
    world.wait_for_exit(world.worker("a")["id"].as_str().unwrap());
    assert_eq!(world.worker("a")["exit"], json!({"kind": "lost"}));
    assert_eq!(world.lane(&["replay", "a"]).ok().out(), "shown\r\n");
}

#[test]
fn a_recording_that_cannot_go_on_says_so_and_the_program_does_not_notice() {
    let world = environment();
    let script = "echo first; read go; seq 5000; echo done; read end";
    let _ = world.lane(&["new", "a", "--record", "--", "sh", "-c", script]).ok();
    let run = world.run_folder("a");
    screen::wait_for_line(&run, "first");
    // As on a full disk: at some point a write does not fit.
    let holder = Pid::from_raw(parent(world.pid("a")).unwrap().cast_signed()).unwrap();
    prlimit(Some(holder), Resource::Fsize, Rlimit { current: Some(6_000), maximum: None }).unwrap();
    let _ = world.lane(&["send", "a", "", "--enter"]).ok();
    screen::wait_for_line(&run, "done");
    assert_eq!(world.worker("a")["status"], "running");
    let shown = world.json(&["show", "a"])["worker"]["recording"].clone();
    assert_eq!(shown["stopped"], "it cannot be written: file too large");
    let words = world.lane(&["show", "a"]).ok().out();
    assert!(words.contains("recording stopped: it cannot be written: file too large"), "{words}");
    let replayed = world.lane(&["replay", "a"]).ok();
    assert!(replayed.out().starts_with("first\r\n") && !replayed.out().contains("done"), "{replayed}");
    assert!(replayed.err().contains("the recording ends before its program"), "{replayed}");
}

#[test]
fn the_settings_and_a_task_on_a_terminal_record_too() {
    let world = environment();
    let _ = world.lane(&["new", "a"]).ok();
    let mut window = world.window(&["exec", "a", "--tty", "--record", "--", "echo", "by exec"], 80, 24);
    window.wait_until_left_with(0);
    let tasks = world.json(&["ps", "--all"])["workers"].clone();
    let task = tasks[0]["id"].as_str().unwrap();
    assert_eq!(world.lane(&["replay", task]).ok().out(), "by exec\r\n");
    fs::write(world.home.join("config.toml"), "record = true\n").unwrap();
    let _ = world
        .lane(&["run", "a", "--name", "b", "--", "sh", "-c", "echo by settings; exec fake-agent wait"])
        .ok();
    screen::wait_for_line(&world.run_folder("b"), "by settings");
    assert_eq!(world.lane(&["replay", "a/b"]).ok().out(), "by settings\r\n");
    // What has no terminal is not recorded.
    assert_eq!(world.lane(&["exec", "a", "--", "echo", "on pipes"]).ok().out(), "on pipes\n");
}

#[test]
fn what_cannot_be_played_is_refused_for_what_it_is() {
    let world = environment();
    world.start("a", &["fake-agent", "wait"]);
    let write = |name: &str, text: &str| fs::write(world.repository.join(name), text).unwrap();
    write("one.cast", "{\n\"version\": 1,\n\"width\": 80, \"height\": 24, \"stdout\": [[0.1, \"x\"]]}\n");
    write("three.cast", "{\"version\":3,\"term\":{\"cols\":80,\"rows\":24}}\n[0.1,\"o\",\"x\"]\n");
    write("junk.cast", "\u{1}\u{2}junk\n");
    write("middle", "{\"version\":2,\"width\":80,\"height\":24}\n[0.1,\"o\",\"be\n[0.2,\"o\",\"fore\"]\n");
    for (target, exit, slug, said) in [
        ("a", 3, "not_recorded", "a is not recorded"),
        ("one.cast", 1, "other_version", "asciicast v1"),
        ("three.cast", 1, "other_version", "asciicast v3"),
        ("junk.cast", 1, "not_a_recording", "first line"),
        ("./middle", 1, "broken_recording", "line 2"),
        ("./nothing", 3, "no_such_file", "./nothing"),
        ("..", 1, "unreadable", ".."),
    ] {
        let target = if target == ".." { "../repository/" } else { target };
        let finished = world.lane(&["replay", target]).code(exit);
        assert!(finished.err().contains(said), "{slug}: {finished}");
    }
    // A file that could have been meant is named.
    let error = world.lane(&["replay", "middle"]).code(3).err();
    assert!(error.contains("lane replay ./middle"), "{error}");
    assert_eq!(fails(&world, &["replay", "a"], 2, "usage")["hint"], "its files: lane show TARGET --json");
    for arguments in [
        &["replay", "a", "--speed", "0"][..],
        &["replay", "a", "--speed", "fast"],
        &["exec", "a", "--record", "--", "true"],
        &["new", "b", "--record"],
    ] {
        let _ = world.lane(arguments).code(2);
    }
}

/// Plays in a window, and waits until `shows` is there.
#[track_caller]
fn play(world: &TestEnvironment, arguments: &[&str], shows: &str) -> Window {
    let mut window = world.window(&[&["replay"], arguments].concat(), 80, 24);
    window.wait_for(shows);
    window
}

/// Everything a program may do to a terminal.
const HOSTILE: &str = "\u{1b}[?1049h\u{1b}[?25l\u{1b}[?1000h\u{1b}[?1006h\u{1b}[?2004h\u{1b}[?1h\u{1b}=\u{1b}[>1u\u{1b}[5;10r\u{1b}[?6h\u{1b}[c\u{1b}[6none";

#[test]
fn a_terminal_is_given_back_however_playing_ends() {
    let world = environment();
    let plain = play(&world, &[&an_hour(&world, "one")], "one").modes();
    let file = an_hour(&world, HOSTILE);
    for (keys, code) in [("q", 0), ("\u{3}", 130), ("\u{1b}[A\u{1b}q q", 0)] {
        let mut window = play(&world, &[&file], "one");
        assert!(window.alternate_screen() && !window.cursor_is_visible());
        assert_eq!(window.modes(), plain, "the keys are the player's");
        window.press(keys);
        window.wait_until_left_with(code);
        window.assert_is_given_back();
    }
    for number in [Signal::TERM, Signal::HUP, Signal::INT] {
        let mut window = play(&world, &[&file], "one");
        signal(window.guard_and_client().1, number);
        window.wait_until_left_with(128 + number.as_raw());
        window.assert_is_given_back();
    }
    let mut window = play(&world, &[&file], "one");
    kill(window.guard_and_client().1);
    window.wait_until_left_with(137);
    window.assert_is_given_back();
    let mut window = play(&world, &[&file], "one");
    signal(window.guard_and_client().0, Signal::TERM);
    window.wait_until_left_with(143);
    window.assert_is_given_back();
    play(&world, &[&file], "one").close();
}

#[test]
fn it_plays_in_its_own_time_and_can_be_held_and_stepped_through() {
    let world = environment();
    let file = an_hour(&world, "one\r\n");
    let mut window = play(&world, &[&file], "one");
    // Nothing more comes for an hour, but by steps while it is held.
    window.press(" .");
    window.wait_for_row("two");
    assert!(!window.shows("three"));
    window.press(".");
    window.wait_for_row("three");
    window.wait_until_left_with(0);
    window.assert_is_given_back();
    let rows = ["one", "two", "three"];
    for pace in [&["--idle-limit", "20ms"][..], &["--speed", "1000000"]] {
        let mut window = world.window(&[&["replay", &file], pace].concat(), 80, 24);
        window.wait_until_left_with(0);
        let shown: Vec<String> = window.rows().iter().map(|row| row.trim_end().to_owned()).collect();
        assert_eq!(shown[..3], rows);
        assert_eq!(shown[3], "left with 0", "behind what was played");
    }
    let mut small = world.window(&["replay", &file, "--idle-limit", "0"], 40, 10);
    small.wait_for("it was recorded at 80×24");
    small.wait_until_left_with(0);
}

#[test]
fn what_was_on_the_screen_is_still_there_above_what_is_played() {
    let world = environment();
    let file = an_hour(&world, "\u{1b}[H\u{1b}[2Jone\r\n");
    let command = format!("echo before; lane replay {file} --idle-limit 0");
    let lines = {
        let mut setsid = world.program("setsid");
        setsid.env("LANG", "C.UTF-8");
        let mut window = Window::open(setsid, &["sh", "-c", &command], 80, 24);
        window.wait_until_left_with(0);
        window.all_lines()
    };
    let position = |text: &str| lines.iter().position(|line| line.trim_end() == text);
    assert!(position("before") < position("one") && position("before").is_some(), "{lines:?}");
}

#[test]
fn a_played_recording_ends_as_the_terminal_it_was_made_of() {
    let world = environment();
    fs::write(
        world.repository.join("notes.txt"),
        (1..=100).map(|n| format!("line {n}\n")).collect::<Vec<_>>().concat(),
    )
    .unwrap();
    let _ = world.lane(&["new", "a", "--record", "--", "vim", "-n", "--clean", "../../notes.txt"]).ok();
    let run = world.run_folder("a");
    screen::wait_until(&run, "the file", |text| text.lines.iter().any(|line| line.contains("line 20")));
    let mut driver = world.window(&["attach", "a"], 80, 24);
    for (keys, shows) in [(":set number\r", " 20 line 20"), ("50Gzt", " 50 line 50"), ("ocanary", "canary")] {
        driver.press(keys);
        driver.wait_for(shows);
    }
    driver.wait_until_like(&run);
    let rows = driver.rows();
    // Held at the last moment, before the terminal is given back.
    let lines: Vec<Value> = fs::read_to_string(&files(&world, "a")[0])
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let copy = world.root().join("held.cast");
    let last = json!([1e6, "o", ""]);
    let text: Vec<String> = lines.iter().chain([&last]).map(|line| format!("{line}\n")).collect();
    fs::write(&copy, text.concat()).unwrap();
    let mut window = world.window(&["replay", copy.to_str().unwrap(), "--speed", "50"], 80, 24);
    window.wait_until("the same screen", |window| window.rows() == rows);
    window.press("q");
    window.wait_until_left_with(0);
    window.assert_is_given_back();
}
