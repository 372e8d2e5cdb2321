//! What a command finds around it: homes at odd places, streams that are closed, environments that lack what is usual or
//! hold what is no text, and things in the folders of runs that nobody of ours has put there.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use laneway_testkit::process::{self, finish};
use laneway_testkit::{LIMIT, TestEnvironment, screen};
use serde_json::json;

use crate::environment;
use crate::support::{Pipe, fails, has_failed, lane, parent};
use crate::terminals::holder_of;

/// Uses a home for all that uses one: a program, typing, reading, a task, an attachment, and a daemon that finds again.
#[track_caller]
fn all_of_it_works(world: &TestEnvironment) {
    let run = world.start("a", &["fake-agent", "echo"]);
    let _ = world.lane(&["send", "a", "you", "--enter"]).ok();
    screen::wait_for_line(&run, "heard you");
    assert_eq!(world.lane_with_input(&["exec", "a", "--", "cat"], b"through").ok().out(), "through");
    let mut window = world.window(&["attach", "a"], 80, 24);
    window.wait_for_row("heard you");
    window.press("\x1c");
    window.wait_until_left_with(0);
    let program = world.pid("a");
    world.kill_the_daemon();
    assert_eq!(world.pid("a"), program);
    // From inside a run as well: its holder starts the daemon.
    world.kill_the_daemon();
    let told = world.lane(&["exec", "a", "--", "sh", "-c", "printf %s \"$LANEWAY_HOME\""]).ok();
    assert_eq!(told.stdout, world.home.as_os_str().as_bytes());
    let _ = world.lane(&["exec", "a", "--", "lane", "ls"]).ok();
    let _ = world.lane(&["close", "a"]).ok();
    let _ = world.lane(&["daemon", "stop"]).ok();
}

#[test]
fn a_home_may_be_called_as_odd_as_a_folder_may() {
    for name in
        [&b"with spaces and 'quotes'"[..], b"line\nbreak\ttab", b"\xff\xfe\x80", b"-rf", "ü 漢字".as_bytes()]
    {
        let mut world = environment();
        world.home = world.root().join(OsStr::from_bytes(name)).join("home");
        all_of_it_works(&world);
    }
}

#[test]
fn a_home_may_be_a_symbolic_link_to_a_folder_of_one_s_own() {
    let mut world = environment();
    let real = world.root().join("real");
    fs::create_dir(&real).unwrap();
    world.home = world.root().join("link");
    symlink(&real, &world.home).unwrap();
    all_of_it_works(&world);
    assert!(real.join("laneway.db").exists() && world.home.is_symlink());
    assert_eq!(fs::metadata(&real).unwrap().mode() & 0o777, 0o700);
    // It is the same home by its other name.
    world.home = real;
    assert_eq!(lane(&world, "a")["status"], "closed");
    let _ = world.lane(&["daemon", "stop"]).ok();
    // A link that leads nowhere, and one that leads to itself.
    for (name, target) in [("dangling", "nowhere"), ("loop", "loop")] {
        let home = world.root().join(name);
        symlink(target, &home).unwrap();
        let refused = finish(world.lane_command(&["ls", "--json"]).env("LANEWAY_HOME", &home), b"");
        let error = has_failed(&refused, 1, "home_unusable");
        assert!(error["message"].as_str().unwrap().contains(name), "{error}");
        assert!(error["hint"].as_str().unwrap().contains("LANEWAY_HOME"), "{error}");
        assert!(home.is_symlink() && !world.root().join("nowhere").exists());
    }
}

#[test]
fn a_home_that_others_may_write_to_is_made_private() {
    let world = environment();
    fs::create_dir(&world.home).unwrap();
    fs::set_permissions(&world.home, fs::Permissions::from_mode(0o777)).unwrap();
    let _ = world.lane(&["new", "a"]).ok();
    assert_eq!(fs::metadata(&world.home).unwrap().mode() & 0o777, 0o700);
}

#[test]
fn a_home_with_a_path_longer_than_the_system_takes_is_refused() {
    let world = environment();
    let home: PathBuf = [world.root()].into_iter().chain([Path::new(&"h".repeat(200)); 25]).collect();
    assert!(home.as_os_str().len() > 4096);
    let refused = finish(world.lane_command(&["ls", "--json"]).env("LANEWAY_HOME", &home), b"");
    let error = has_failed(&refused, 1, "home_unusable");
    assert!(error["message"].as_str().unwrap().contains("too long"), "{error}");
}

#[test]
fn without_what_an_environment_usually_has_it_works_all_the_same() {
    let world = environment();
    let bare = |arguments: &[&str]| {
        let mut command = world.lane_command(arguments);
        command.env_clear().env("LANEWAY_HOME", &world.home);
        // Of all that is usual only where programs are.
        command.env(
            "PATH",
            world.program("true").get_envs().find(|(name, _)| *name == "PATH").unwrap().1.unwrap(),
        );
        command.env("LANG", "C");
        finish(&mut command, b"")
    };
    let _ = bare(&["new", "a", "--", "fake-agent", "echo"]).ok();
    let _ = bare(&["send", "a", "Grüße 漢", "--enter"]).ok();
    let _ = bare(&["wait", "a", "--for", "output=heard Grüße 漢"]).ok();
    assert!(bare(&["read", "a"]).ok().out().contains("heard Grüße 漢"));
    assert_eq!(
        bare(&["exec", "a", "--", "sh", "-c", "echo $TERM-$HOME-$COLORTERM"]).ok().out().lines().count(),
        1
    );
    // Without a shell of one's own there is the system's.
    let _ = bare(&["run", "a", "--name", "shell"]).ok();
    let _ = bare(&["send", "shell", "echo $TERM.$COLORTERM.$LANG", "--enter"]).ok();
    let _ = bare(&["wait", "shell", "--for", "output=^xterm-256color.truecolor.C$"]).ok();
    let _ = bare(&["ls"]).ok();
    let _ = bare(&["close", "a"]).ok();
}

#[test]
fn an_environment_that_is_no_text_reaches_the_program_as_it_is() {
    let world = environment();
    let odd = [
        (&b"ODD_VALUE"[..], &b"\xff\x80 \n\x1b[2J\x01"[..]),
        (b"ODD_\xff\xfe", b"name"),
        (b"odd name; with", b"spaces"),
        (b"EMPTY", b""),
        ("ÜBER".as_bytes(), "漢字".as_bytes()),
    ];
    let with_odd = |arguments: &[&str]| {
        let mut command = world.lane_command(arguments);
        command.envs(odd.map(|(name, value)| (OsStr::from_bytes(name), OsStr::from_bytes(value))));
        finish(&mut command, b"")
    };
    let is_there = |environment: &[u8]| {
        let variables: Vec<&[u8]> = environment.split(|byte| *byte == 0).collect();
        for (name, value) in odd {
            let wanted = [name, b"=", value].concat();
            assert!(
                variables.contains(&wanted.as_slice()),
                "{}",
                String::from_utf8_lossy(&wanted).escape_debug()
            );
        }
    };
    let _ = with_odd(&["new", "a"]).ok();
    is_there(&with_odd(&["exec", "a", "--", "env", "-0"]).ok().stdout);
    // A shell would drop what it could not name.
    let _ = with_odd(&["run", "a", "--", "cp", "/proc/self/environ", "environment"]).ok();
    let _ = world.lane(&["wait", "a", "--for", "exit"]).ok();
    is_there(&fs::read(world.worktree("a").join("environment")).unwrap());
    fs::remove_file(world.worktree("a").join("environment")).unwrap();
    // And an argument and a folder that are none.
    let folder = world.worktree("a").join(OsStr::from_bytes(b"dir\xff"));
    fs::create_dir(&folder).unwrap();
    let mut command = world.lane_command(&["exec", "a", "--", "printf", "%s"]);
    let printed = finish(command.arg(OsString::from_vec(b"\xfe\n'".to_vec())).current_dir(&folder), b"").ok();
    assert_eq!(printed.stdout, b"\xfe\n'");
}

#[test]
fn streams_that_are_closed_are_no_reason_to_fail() {
    let world = environment();
    let lane = world.lane_command(&[]).get_program().to_str().unwrap().to_owned();
    let with = |script: &str| finish(world.program("sh").args(["-c", &script.replace("lane", &lane)]), b"");
    // The first starts a daemon, which must not take the free numbers for its own and later write there.
    let _ = with("lane new a -- fake-agent echo <&- >&- 2>&-").ok();
    for (n, closed) in
        ["<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-"].into_iter().enumerate()
    {
        let _ = with(&format!("lane ls {closed}")).ok();
        let _ = with(&format!("lane read a --json {closed}")).ok();
        let _ = with(&format!("lane run a --name w{n} {closed} -- fake-agent wait")).ok();
        let _ = with(&format!("lane exec a {closed} -- cat")).ok();
        let _ = with(&format!("lane exec a {closed} -- sh -c 'echo out; echo err >&2; exit 7'")).code(7);
        let _ = with(&format!("lane nonsense {closed}")).code(2);
        let _ = with(&format!("lane daemon restart {closed}")).ok();
        let _ = with(&format!("lane stop w{n} {closed}")).ok();
    }
    let _ = with("lane send a <&- --enter").ok();
    assert_eq!(with("lane attach a >&-").code, 2);
    let _ = with("lane close a <&- >&- 2>&-").ok();
    let log = fs::read_to_string(world.home.join("daemon.log")).unwrap();
    assert!(!log.contains("panic"), "{log}");
}

#[test]
fn output_that_nobody_reads_is_a_success_and_output_that_cannot_be_written_is_not() {
    let world = environment();
    let _ = world.start("a", &["fake-agent", "say", "hello", "wait"]);
    let commands: [&[&str]; 13] = [
        &[],
        &["ls"],
        &["ls", "--json"],
        &["ps"],
        &["show", "a"],
        &["path", "a"],
        &["read", "a"],
        &["logs", "a"],
        &["events", "--since", "0"],
        &["diff", "a"],
        &["daemon", "status"],
        &["version"],
        &["completions", "bash"],
    ];
    let written_to = |arguments: &[&str], output: Stdio| {
        let mut command = world.lane_command(arguments);
        command.stdin(Stdio::null()).stdout(output).stderr(Stdio::piped()).output().unwrap()
    };
    for arguments in commands {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        drop(reader);
        let ended = written_to(arguments, writer.into());
        assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), &b""[..]), "{arguments:?}");
        if *arguments == ["diff", "a"] {
            // There is nothing to write.
            continue;
        }
        let ended = written_to(arguments, File::options().write(true).open("/dev/full").unwrap().into());
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("No space left on device"), "{arguments:?}: {said}");
    }
    // A failure stays one.
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    drop(reader);
    assert_eq!(written_to(&["read", "nobody", "--json"], writer.into()).status.code(), Some(3));
}

#[test]
fn garbage_among_the_runs_is_neither_felt_nor_touched() {
    let world = environment();
    let _ = world.start("a", &["fake-agent", "echo"]);
    let program = world.pid("a");
    let runs = world.home.join("runs");
    let id = |n: u32| format!("rn_0000000000000000000000000{n}");
    let put = |path: PathBuf, bytes: &[u8]| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    put(runs.join("a file"), b"x");
    put(runs.join("rn_short"), b"x");
    put(runs.join(id(1)), b"a file in place of a folder");
    fs::create_dir(runs.join(id(2))).unwrap();
    put(runs.join(id(3)).join("record"), &[0xff; 4096]);
    put(runs.join(id(4)).join("record"), b"");
    put(runs.join(id(4)).join("sock"), b"no socket");
    put(runs.join(id(5)).join("record").join("a folder"), b"x");
    put(runs.join(id(5)).join("sock.at"), b"/nowhere/at/all");
    put(runs.join(id(6)).join("screen"), &vec![0; 100_000]);
    symlink("/", runs.join(id(7))).unwrap();
    symlink(id(8), runs.join(id(8))).unwrap();
    fs::create_dir(runs.join(OsStr::from_bytes(b"\xff\xfe"))).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, runs.join(id(9)), rustix::fs::Mode::RUSR).unwrap();
    let before: Vec<_> = listing(&runs);
    for _ in 0..2 {
        world.kill_the_daemon();
        assert_eq!(world.pid("a"), program);
        assert_eq!(world.worker("a")["status"], "running");
    }
    let _ = world.lane(&["doctor"]);
    let _ = world.lane(&["close", "a"]).ok();
    assert_eq!(listing(&runs), before);
}

/// The names in a folder.
fn listing(folder: &Path) -> Vec<OsString> {
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

#[test]
fn a_run_whose_folder_is_deleted_goes_on_and_can_be_stopped() {
    let world = environment();
    let run = world.start("a", &["fake-agent", "echo"]);
    let (program, holder) = (world.pid("a"), holder_of(&world, &run).unwrap());
    fs::remove_dir_all(&run).unwrap();
    assert_eq!(world.worker("a")["status"], "running");
    let error = fails(&world, &["read", "a"], 3, "no_last_screen");
    assert!(error["hint"].is_string(), "{error}");
    let mut window = world.window(&["attach", "a"], 80, 24);
    window.wait_until_left_with(6);
    window.close();
    assert!(process::is_alive(program));
    assert_eq!(parent(program), Some(holder));
    let _ = world.lane(&["stop", "a"]).ok();
    assert_eq!(world.worker("a")["exit"], json!({"kind": "signal", "signal": 15}));
    assert!(!process::is_alive(program));
    let _ = world.lane(&["close", "a"]).ok();
}

#[test]
fn a_run_whose_folder_is_deleted_is_not_taken_for_lost_by_the_next_daemon() {
    let world = environment();
    let _ = world.start("a", &["fake-agent", "echo"]);
    let go = Pipe::new(&world, "go");
    let _ = world.lane(&["run", "a", "--name", "b", "--", "sh", "-c", "read x < \"$0\"", go.text()]).ok();
    let programs = ["a", "b"].map(|name| (world.pid(name), parent(world.pid(name)).unwrap()));
    let [(a, holder_of_a), (b, holder_of_b)] =
        programs.map(|(program, holder)| (process::open(program).unwrap(), process::open(holder).unwrap()));
    for name in ["a", "b"] {
        fs::remove_dir_all(world.run_folder(name)).unwrap();
    }
    for _ in 0..2 {
        world.kill_the_daemon();
        for (name, (program, _)) in ["a", "b"].into_iter().zip(programs) {
            assert_eq!((world.worker(name)["status"].clone(), world.pid(name)), (json!("running"), program));
        }
    }
    // Its end cannot be told by anybody; that it has ended can.
    go.go();
    assert!(process::ends_within(&b, LIMIT) && process::ends_within(&holder_of_b, LIMIT));
    world.wait_for_exit(world.worker("b")["id"].as_str().unwrap());
    assert_eq!(world.worker("b")["exit"], json!({"kind": "lost"}));
    // And it can be ended.
    let id = world.worker("a")["id"].as_str().unwrap().to_owned();
    let _ = world.lane(&["close", "a"]).ok();
    assert!(process::ends_within(&a, LIMIT) && process::ends_within(&holder_of_a, LIMIT));
    assert_eq!(world.wait_for_exit(&id)["data"]["exit"], json!({"kind": "lost"}));
}

#[test]
fn a_run_whose_holder_somebody_has_stopped_can_be_ended() {
    let world = environment();
    let run = world.start("a", &["fake-agent", "ready", "echo"]);
    screen::wait_for_line(&run, "ready");
    let (program, holder) = (world.pid("a"), holder_of(&world, &run).unwrap());
    process::signal(holder, rustix::process::Signal::STOP);
    assert_eq!(world.worker("a")["status"], "running");
    let _ = world.lane(&["stop", "a"]).ok();
    assert!(!process::is_alive(program));
    assert_eq!(world.worker("a")["exit"], json!({"kind": "signal", "signal": 15}));
}
