//! `lane attach`, in windows of a user: what they show is what the holder has, and whatever happens to anybody,
//! the window is given back and the program goes on.

use std::fs;

use laneway_testkit::process::{ends_within, is_alive, kill, of_session, open, readable_within};
use laneway_testkit::pty::Window;
use laneway_testkit::{LIMIT, TestEnvironment, screen};
use rustix::fs::{Mode, OFlags};

use crate::environment;
use crate::support::fails;
use crate::terminals::holder_of;

const DETACH: &str = "\x1c";
const SHELL: &[&str] = &["bash", "--norc", "--noprofile"];
const PROMPT: &str = "bash-";

/// Opens a window of 80 by 24 on a worker, and waits until it shows what the worker's terminal does.
#[track_caller]
fn attach(world: &TestEnvironment, name: &str) -> Window {
    let mut window = world.window(&["attach", name], 80, 24);
    window.wait_until_like(&world.run_folder(name));
    window
}

/// Presses the detach key and sees that the window is as it was before.
#[track_caller]
fn detach(window: &mut Window, name: &str) {
    window.press(DETACH);
    window.wait_until_left_with(0);
    assert!(window.shows(&format!("detached from {name} (still running)")), "{:?}", window.rows());
    window.assert_is_given_back();
}

/// Has a program started, attached to, left, attached to again: `shows` is awaited first, then `steps` of keys
/// and what they bring to the screen.
#[track_caller]
fn looks_right(world: &TestEnvironment, program: &[&str], shows: &str, steps: &[(&str, &str)]) {
    let run = world.start("a", program);
    screen::wait_until(&run, shows, |text| text.lines.iter().any(|line| line.contains(shows)));
    let pid = world.pid("a");
    let mut window = attach(world, "a");
    window.wait_for(shows);
    let (early, late) = steps.split_at(steps.len() / 2);
    for (keys, brought) in early {
        window.press(keys);
        window.wait_for(brought);
        window.wait_until_like(&run);
    }
    let modes = window.modes();
    detach(&mut window, "a");
    window.close();
    let mut window = attach(world, "a");
    assert_eq!(window.modes(), modes, "keys and mouse are told as before");
    for (keys, brought) in late {
        window.press(keys);
        window.wait_for(brought);
        window.wait_until_like(&run);
    }
    for (columns, rows) in [(120, 40), (30, 8), (100, 30)] {
        window.resize(columns, rows);
    }
    window.wait_until_like(&run);
    detach(&mut window, "a");
    let mut smaller = world.window(&["attach", "a"], 60, 15);
    smaller.wait_until_like(&run);
    detach(&mut smaller, "a");
    assert_eq!(world.pid("a"), pid, "it is the same program");
}

/// Puts lines into the file `notes.txt` of every lane to come.
#[track_caller]
fn commit_notes(world: &TestEnvironment, lines: impl Iterator<Item = String>) {
    let lines: Vec<String> = lines.collect();
    fs::write(world.repository.join("notes.txt"), lines.concat()).expect("a new file");
    world.git(&["add", "."]);
    world.git(&["commit", "--quiet", "--message", "notes"]);
}

#[test]
fn bash_looks_right_after_attaching_again() {
    let steps = [
        ("printf 'Gr\u{fc}\u{df}e \\033[1;31mred\\033[0m 漢字\\n'\r", "Grüße red 漢字"),
        ("for n in {1..40}; do echo line $n; done\r", "line 40"),
        ("echo half", "echo half"),
        (" of it\r", "half of it"),
        ("\x1b[A\x1b[A\x1b[A\x01# ", "# printf"),
        ("\x0c", "# printf"),
    ];
    looks_right(&environment(), SHELL, PROMPT, &steps);
}

#[test]
fn vim_looks_right_after_attaching_again() {
    let world = environment();
    commit_notes(&world, (1..=200).map(|n| format!("line {n}\tüber 漢字\n")));
    let steps = [
        (":set number hlsearch\r", "  1 line 1"),
        ("/line 150\r", "150 line 150"),
        ("Onew text", "-- INSERT --"),
        ("\x1b:echo 'out of' 'it'\r", "out of it"),
        (":split\r\x17jgg", "  1 line 1"),
        ("\x17k:echo 6*7\r", "42"),
        ("ione more ", "-- INSERT --"),
    ];
    looks_right(&world, &["vim", "--clean", "notes.txt"], "line 1", &steps);
}

#[test]
fn less_looks_right_after_attaching_again() {
    let world = environment();
    commit_notes(&world, (1..=300).map(|n| format!("\x1b[3{}mline {n}\x1b[0m\n", n % 8)));
    let steps = [(" ", "line 46"), ("/line 120\r", "line 120"), ("G", "line 300"), ("g", "line 1")];
    looks_right(&world, &["less", "-R", "notes.txt"], "line 23", &steps);
}

#[test]
fn python_looks_right_after_attaching_again() {
    let steps = [
        ("print('ä' * 3 + '漢')\r", "äää漢"),
        ("for n in range(30): print(n, n * n)\r\r", "29 841"),
        ("1 / 0\r", "ZeroDivisionError"),
        ("'left' + ", ">>> 'left' +"),
        ("'over'\r", "'leftover'"),
        ("\x1b[A", ">>> 'left' + 'over'"),
    ];
    looks_right(&environment(), &["python3", "-q"], ">>>", &steps);
}

#[test]
fn the_detach_key_typed_twice_goes_through_once() {
    let world = environment();
    let script = "stty raw -echo; echo ready; head -c 3 | od -An -tx1; read -r _";
    let run = world.start("a", &["bash", "-c", script]);
    screen::wait_for_line(&run, "ready");
    let mut window = attach(&world, "a");
    window.press(&["a", DETACH, DETACH, "b"].concat());
    window.wait_for("61 1c 62");
    detach(&mut window, "a");
}

#[test]
fn a_pasted_detach_key_is_text() {
    let world = environment();
    let script = "stty raw -echo; printf '\\033[?2004h'; echo ready; head -c 15 | od -An -tx1; read -r _";
    let run = world.start("a", &["bash", "-c", script]);
    screen::wait_until(&run, "ready", |text| text.lines.iter().any(|line| line.contains("ready")));
    let mut window = attach(&world, "a");
    window.press("\x1b[200~a\x1cb\x1b[201~");
    window.wait_for("1b 5b 32 30 30 7e 61 1c 62 1b 5b 32 30 31 7e");
    detach(&mut window, "a");
}

#[test]
fn a_program_that_floods_can_be_left() {
    let world = environment();
    world.start("a", &["fake-agent", "count"]);
    for _ in 0..3 {
        let mut window = world.window(&["attach", "a"], 80, 24);
        window.wait_for("tick");
        detach(&mut window, "a");
    }
}

#[test]
fn the_detach_key_is_known_in_the_form_of_the_kitty_protocol() {
    let world = environment();
    let script = "stty raw -echo; printf '\\033[>1u'; echo ready; head -c 8 | od -An -c; read -r _";
    let run = world.start("a", &["bash", "-c", script]);
    screen::wait_until(&run, "ready", |text| text.lines.iter().any(|line| line.contains("ready")));
    let mut window = attach(&world, "a");
    assert_eq!(window.modes().keyboard, 1);
    let (detach, other) = ("\x1b[92;5u", "\x1b[97;5ux");
    window.press(other);
    window.wait_for("[   9   7   ;   5   u   x");
    window.press(detach);
    window.wait_until_left_with(0);
    window.assert_is_given_back();
    assert!(is_alive(world.pid("a")));
}

#[test]
fn another_key_can_be_the_one_that_leaves() {
    let world = environment();
    world.start("a", SHELL);
    let run = world.run_folder("a");
    let mut window = world.window(&["attach", "a", "--detach-keys", "ctrl-a"], 80, 24);
    window.wait_until_like(&run);
    window.press("echo still here\r");
    window.wait_for_row("still here");
    window.press("\x01");
    window.wait_until_left_with(0);
    window.assert_is_given_back();
    let mut refused = world.window(&["attach", "a", "--detach-keys", "q"], 80, 24);
    refused.wait_until_left_with(2);
}

#[test]
fn closing_the_window_detaches() {
    let world = environment();
    let run = world.start("a", SHELL);
    let pid = world.pid("a");
    let mut window = attach(&world, "a");
    window.press("echo from the window\r");
    window.wait_for_row("from the window");
    // Waits until nothing that ran in it is left.
    window.close();
    world.lane(&["send", "a", "--enter", "echo afterwards"]).ok();
    screen::wait_for_line(&run, "afterwards");
    assert_eq!(world.pid("a"), pid);
    let mut window = attach(&world, "a");
    window.wait_for_row("from the window");
}

/// A program that leaves its terminal in every mode that would spoil a shell.
const SPOILER: &str = "stty raw -echo; \
    printf '\\033[?1049h\\033[?25l\\033[?1003h\\033[?1006h\\033[?2004h\\033[?1h\\033=\\033[>1u\\033[2;5r\\033[7m'; \
    printf 'spoiled'; head -c 1 > /dev/null; printf 'alive'; read -r _";

#[track_caller]
fn attach_to_spoiler(world: &TestEnvironment) -> Window {
    let run = world.start("a", &["bash", "-c", SPOILER]);
    screen::wait_until(&run, "spoiled", |text| text.lines.iter().any(|line| line.contains("spoiled")));
    let window = attach(world, "a");
    assert!(window.alternate_screen() && !window.cursor_is_visible() && window.modes().bracketed_paste);
    window
}

#[track_caller]
fn the_program_goes_on(world: &TestEnvironment) {
    world.lane(&["send", "a", "x"]).ok();
    let run = world.run_folder("a");
    screen::wait_until(&run, "alive", |text| text.lines.iter().any(|line| line.contains("alive")));
}

#[test]
fn a_killed_client_leaves_the_window_as_it_was() {
    let world = environment();
    let mut window = attach_to_spoiler(&world);
    let (_, client) = window.guard_and_client();
    kill(client);
    window.wait_until_left_with(128 + 9);
    window.assert_is_given_back();
    the_program_goes_on(&world);
}

#[test]
fn a_killed_guard_leaves_the_window_as_it_was() {
    let world = environment();
    let mut window = attach_to_spoiler(&world);
    let (guard, client) = window.guard_and_client();
    let client = open(client).unwrap();
    kill(guard);
    // The client sees to it, while the shell is in the window already.
    window.wait_until("the window as it was", |window| !window.alternate_screen());
    assert!(ends_within(&client, LIMIT));
    window.wait_for("detached from a");
    window.assert_is_given_back();
    the_program_goes_on(&world);
}

#[test]
fn a_killed_guard_leaves_a_shell_with_jobs_its_terminal() {
    let world = environment();
    // The terminal of one lane is the window here, in which its shell attaches to the other.
    let (window, spoiler) = (world.start("a", SHELL), world.start("b", &["bash", "-c", SPOILER]));
    screen::wait_until(&spoiler, "spoiled", |text| text.lines.iter().any(|line| line.contains("spoiled")));
    screen::wait_until(&window, PROMPT, |text| text.lines[0].starts_with(PROMPT));
    world.lane(&["send", "a", "--enter", "lane attach b"]).ok();
    screen::wait_until(&window, "spoiled", |text| text.lines.iter().any(|line| line.contains("spoiled")));
    let shell = world.pid("a");
    let guard = of_session(shell).into_iter().find(|member| member.parent == shell).unwrap().pid;
    let client = of_session(shell).into_iter().find(|member| member.parent == guard).unwrap().pid;
    let client = open(client).unwrap();
    kill(guard);
    assert!(ends_within(&client, LIMIT));
    world.lane(&["send", "a", "--enter", "stty -a | grep -o ' echo '; lane ls --json | grep -c ."]).ok();
    let text = screen::wait_until(&window, "the shell", |text| text.lines.iter().any(|line| line == "1"));
    assert!(text.lines.iter().any(|line| line == " echo"), "{:?}", text.lines);
    assert!(!text.alternate_screen && text.cursor.unwrap().visible, "{text:?}");
}

#[test]
fn json_says_how_it_was_left() {
    let world = environment();
    world.start("a", SHELL);
    let mut window = world.window(&["attach", "a", "--json"], 80, 24);
    window.wait_until_like(&world.run_folder("a"));
    window.press(DETACH);
    window.wait_until_left_with(0);
    let lines = window.all_lines();
    let report = lines.iter().find(|line| line.starts_with('{')).unwrap();
    let report: serde_json::Value = serde_json::from_str(report).unwrap();
    assert_eq!((&report["left"], &report["name"]), (&"detached".into(), &"a".into()));
    assert!(report["exit"].is_null(), "{report}");
}

#[test]
fn a_client_that_is_asked_to_end_leaves_the_window_as_it_was() {
    let world = environment();
    let mut window = attach_to_spoiler(&world);
    let (guard, _) = window.guard_and_client();
    laneway_testkit::process::signal(guard, rustix::process::Signal::TERM);
    window.wait_until_left_with(128 + 15);
    window.assert_is_given_back();
    the_program_goes_on(&world);
}

#[test]
fn a_killed_holder_is_told_and_the_window_is_as_it_was() {
    let world = environment();
    let mut window = attach_to_spoiler(&world);
    let (holder, program) = (holder_of(&world, &world.run_folder("a")).unwrap(), world.pid("a"));
    let program = open(program).unwrap();
    kill(holder);
    window.wait_until_left_with(1);
    window.wait_for("a is lost");
    window.assert_is_given_back();
    assert!(ends_within(&program, LIMIT), "its program goes with it");
    let id = world.worker("a")["id"].as_str().unwrap().to_owned();
    world.wait_for_exit(&id);
    assert_eq!(world.worker("a")["exit"]["kind"], "lost", "{}", world.worker("a"));
    // It has left no screen.
    let refused = world.lane(&["read", "a"]).code(3);
    assert!(refused.err().contains("lane show"), "{refused}");
    let mut window = world.window(&["attach", "a"], 80, 24);
    window.wait_until_left_with(0);
    assert!(window.rows().iter().any(|row| row.starts_with("a has ended") && row.contains("lost")));
}

#[test]
fn a_program_that_is_stopped_leaves_the_window_as_it_was() {
    let world = environment();
    let mut window = attach_to_spoiler(&world);
    world.lane(&["stop", "a"]).ok();
    window.wait_until_left_with(0);
    window.wait_for("a has ended: ");
    window.assert_is_given_back();
}

#[test]
fn the_end_of_the_program_is_the_end_of_the_attachment() {
    let world = environment();
    world.start("a", SHELL);
    let mut window = attach(&world, "a");
    window.press("echo last words; exit 3\r");
    window.wait_until_left_with(0);
    window.wait_for("a has ended: ");
    assert!(window.rows().iter().any(|row| row.starts_with("a has ended") && row.contains('3')));
    window.assert_is_given_back();
}

#[test]
fn attaching_to_what_has_ended_shows_its_last_screen_and_how_it_ended() {
    let world = environment();
    let script = "read -r _; seq 1 30; printf '\\033[32mthe last words\\033[0m'; kill -9 $$";
    world.start("a", &["bash", "-c", script]);
    world.lane(&["send", "a", "--enter", ""]).ok();
    let id = world.worker("a")["id"].as_str().unwrap().to_owned();
    world.wait_for_exit(&id);
    let mut window = world.window(&["attach", "a"], 80, 30);
    window.wait_until_left_with(0);
    assert!(window.shows("30") && window.shows("the last words"), "{:?}", window.rows());
    assert!(window.rows().iter().any(|row| row.starts_with("a has ended") && row.contains('9')));
    window.assert_is_given_back();
}

#[test]
fn where_there_is_no_terminal_attaching_is_refused_with_another_way() {
    let world = environment();
    world.start("a", SHELL);
    let refused = world.lane(&["attach", "a"]).code(2);
    assert!(refused.err().contains("lane read a"), "{refused}");
    world.lane(&["new", "b"]).ok();
    let task = world.lane(&["exec", "b", "--detach", "--", "fake-agent", "wait"]).ok().out();
    let mut window = world.window(&["attach", task.trim_end()], 80, 24);
    window.wait_until_left_with(5);
    window.wait_for("lane read");
    let mut window = world.window(&["attach", "nobody"], 80, 24);
    window.wait_until_left_with(3);
    window.assert_tty_is_as_at_start();
}

#[test]
fn the_last_one_to_attach_types_and_gives_the_size() {
    let world = environment();
    let run = world.start("a", SHELL);
    let mut first = attach(&world, "a");
    let mut second = world.window(&["attach", "a"], 60, 20);
    second.wait_until_like(&run);
    first.wait_for("a is used from elsewhere now");
    first.press("echo from the first\r");
    second.press("stty size; echo from the second\r");
    second.wait_for_row("20 60");
    second.wait_for_row("from the second");
    first.wait_for_row("from the second");
    assert!(!second.rows().iter().any(|row| row.contains("from the first")), "{:?}", second.rows());
    // The size is the driver's: not the other's, but its own.
    first.resize(100, 40);
    second.resize(70, 22);
    second.press("stty size\r");
    second.wait_for_row("22 70");
    detach(&mut second, "a");
    detach(&mut first, "a");
}

#[test]
fn who_observes_sees_all_and_types_nothing() {
    let world = environment();
    let run = world.start("a", SHELL);
    let mut driver = attach(&world, "a");
    let mut observer = world.window(&["attach", "a", "--observe"], 80, 24);
    observer.wait_until_like(&run);
    observer.press("rm -rf everything\r");
    observer.wait_for("you observe a");
    driver.press("echo from the driver\r");
    driver.wait_for_row("from the driver");
    observer.wait_for_row("from the driver");
    observer.wait_until_like(&run);
    assert!(!observer.all_lines().iter().any(|line| line.contains("everything")));
    observer.resize(100, 40);
    driver.press("stty size\r");
    driver.wait_for_row("24 80");
    detach(&mut observer, "a");
    driver.press("echo alone again\r");
    driver.wait_for_row("alone again");
}

#[test]
fn a_killed_daemon_is_not_felt_while_attached() {
    let world = environment();
    world.start("a", SHELL);
    let mut window = attach(&world, "a");
    world.kill_the_daemon();
    window.press("echo without it\r");
    window.wait_for_row("without it");
    window.resize(90, 25);
    window.press("stty size\r");
    window.wait_for_row("25 90");
    detach(&mut window, "a");
    assert!(is_alive(world.pid("a")));
}

/// Says every new size. A shell with a trap would miss a signal that comes just before it waits.
const SIZES: &str = "import os, signal\n\
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGWINCH])\n\
    print('ready', flush=True)\n\
    while signal.sigwait([signal.SIGWINCH]):\n\
    \x20   size = os.get_terminal_size()\n\
    \x20   print(size.lines, size.columns, flush=True)\n";

#[test]
fn a_new_size_of_the_window_reaches_the_program() {
    let world = environment();
    let run = world.start("a", &["python3", "-c", SIZES]);
    screen::wait_for_line(&run, "ready");
    let mut window = attach(&world, "a");
    for (columns, rows) in [(100, 30), (40, 10), (200, 60)] {
        window.resize(columns, rows);
        window.wait_for_row(&format!("{rows} {columns}"));
        window.wait_until_like(&run);
    }
}

#[test]
fn in_a_window_that_knows_no_size_it_is_that_of_a_vt100() {
    let world = environment();
    let run = world.start("a", SHELL);
    let mut window = world.window(&["attach", "a"], 0, 0);
    window.press("stty size\r");
    screen::wait_for_line(&run, "24 80");
    window.press(DETACH);
    window.wait_until("the screen it had", |window| !window.alternate_screen());
}

#[test]
fn a_size_beyond_reason_is_brought_into_reason() {
    let world = environment();
    let run = world.start("a", &["python3", "-c", SIZES]);
    screen::wait_for_line(&run, "ready");
    let mut window = attach(&world, "a");
    window.resize(u16::MAX, u16::MAX);
    screen::wait_for_line(&run, "1000 1000");
    window.resize(1, 1);
    // "2 2" and a newline, in two columns.
    screen::wait_until(&run, "its size", |text| text.lines == ["2", ""]);
    window.resize(80, 24);
    screen::wait_for_line(&run, "24 80");
    let all = world.json(&["read", "a", "--all"]);
    let lines: Vec<&str> =
        all["lines"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    assert_eq!(lines, ["ready", "1000 1000", "2 2", "24 80"]);
    detach(&mut window, "a");
}

#[test]
fn what_is_typed_in_other_scripts_is_shown_and_taken_as_it_is() {
    let world = environment();
    let run = world.start("a", &["bash", "-c", "stty -echo; echo ready; exec tee got"]);
    screen::wait_for_line(&run, "ready");
    let mut window = attach(&world, "a");
    let said = ["Grüße", "漢字かな", "e\u{301}o\u{328}", "👩\u{200d}🚀 🇪🇺", "مرحبا"];
    for line in said {
        window.press(&format!("{line}\r"));
        window.wait_for_row(line);
        window.wait_until_like(&run);
    }
    let got = fs::read_to_string(world.worktree("a").join("got")).unwrap();
    assert_eq!(got.lines().collect::<Vec<_>>(), said);
}

#[test]
fn a_window_that_draws_nothing_holds_up_nobody_and_catches_up() {
    let world = environment();
    let script = "mkfifo over; stty -echo; echo ready; read -r _; seq 1 2000000; \
                  echo the end; echo > over; read -r _; echo and on; read -r _";
    let run = world.start("a", &["bash", "-c", script]);
    screen::wait_for_line(&run, "ready");
    let over = world.worktree("a").join("over");
    let over = rustix::fs::open(over, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty());
    let mut window = attach(&world, "a");
    window.press("\r");
    // Nothing is drawn until the program is through.
    assert!(readable_within(&over.unwrap(), LIMIT), "it is held up");
    let n_read = window.n_read();
    window.wait_for_row("the end");
    window.wait_until_like(&run);
    assert!(window.n_read() - n_read < 4 << 20, "it was shown the end of it, not all");
    window.press("\r");
    window.wait_for_row("and on");
    window.wait_until_like(&run);
    detach(&mut window, "a");
}

#[test]
fn a_new_lane_is_attached_to_at_once_and_goes_on_when_it_is_left() {
    let world = environment();
    let mut window = world.window(&["new", "a", "--attach", "--", "bash", "--norc", "--noprofile"], 80, 24);
    window.wait_for(PROMPT);
    window.press("pwd\r");
    window.wait_for(".lanes/a");
    assert!(window.alternate_screen());
    window.press(DETACH);
    window.wait_until_left_with(0);
    let lines = window.all_lines();
    let at = |text: &str| {
        lines.iter().position(|line| line.contains(text)).unwrap_or_else(|| panic!("{text}: {lines:?}"))
    };
    let how = at("ctrl-\\; it goes on, and lane attach a comes back to it");
    let order = [at("lane a"), at(".lanes/a"), how, at("detached from a (still running)")];
    assert!(order.is_sorted(), "{lines:?}");
    window.assert_is_given_back();
    window.close();
    assert_eq!(world.worker("a")["status"], "running");
    let mut window = attach(&world, "a");
    window.wait_for(".lanes/a");
    window.press("exit\r");
    window.wait_until_left_with(0);
    window.close();

    // Without a command it is the shell.
    let mut window = world.window(&["new", "b", "--attach"], 80, 24);
    window.wait_until("the shell", Window::alternate_screen);
    window.press("echo in $LANEWAY_LANE\r");
    window.wait_for("in ln_");
    window.press("exit 3\r");
    window.wait_until_left_with(0);
    assert!(window.shows("b has ended: exited 3"), "{:?}", window.rows());
    window.assert_is_given_back();
    window.close();
    assert_eq!(world.worker("b")["argv"], serde_json::json!(["/bin/bash"]));
}

#[test]
fn what_cannot_be_attached_to_is_refused_before_a_lane_is_made_or_undoes_it() {
    let world = environment();
    let _ = world.lane(&["daemon", "start"]).ok();
    let said = world.lane(&["new", "a", "--attach", "--", "bash"]).code(2);
    assert!(said.err().contains("needs a terminal"), "{said}");
    let _ = fails(&world, &["new", "a", "--attach"], 2, "usage");
    let mut window = world.window(&["new", "a", "--attach", "--", "no-such-program"], 80, 24);
    window.wait_until_left_with(1);
    assert!(window.rows().concat().contains("undone"), "{:?}", window.rows());
    window.assert_is_given_back();
    window.close();
    assert_eq!(world.json(&["ls"]), serde_json::json!({"lanes": []}));
    assert!(!world.repository.join(".lanes/a").exists());
}
