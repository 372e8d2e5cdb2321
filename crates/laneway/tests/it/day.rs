//! A day's work in it: three lanes with an editor, a build, a Python prompt and a pager, looked at from two terminals
//! at once; and every part killed in turn, with all the others going on as if nothing had been.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use laneway_testkit::process::{ends_within, kill, open};
use laneway_testkit::pty::Window;
use laneway_testkit::{LIMIT, TestEnvironment, screen};
use serde_json::{Value, json};

use crate::environment;
use crate::support::{lane, only_the_daemon_is_left, parent};

const DETACH: &str = "\x1c";

/// What `make` does here: two steps and a test, which fails as long as there is no `fixed`.
const MAKEFILE: &str = "all: main.o test\n\
    main.o: notes.txt\n\t@echo CC $@; cp notes.txt main.o\n\
    test:\n\t@test -e fixed && echo all tests passed || { echo a test failed; exit 1; }\n\
    clean:\n\t@rm -f main.o fixed\n";

/// Each of the workers, with what its terminal shows at the beginning.
const WORKERS: [(&str, &str); 4] =
    [("edit", "line 1"), ("build", "watching"), ("data", ">>>"), ("pager", "entry 20")];

/// A morning: the lanes and their workers, with the processes they began with.
struct Day {
    world: TestEnvironment,
    pids: BTreeMap<&'static str, u32>,
    /// The folders of their runs.
    runs: BTreeMap<&'static str, PathBuf>,
}

impl Day {
    #[track_caller]
    fn begin() -> Self {
        let world = environment();
        let lines = |word: &str| (1..=200).map(|n| format!("{word} {n}\n")).collect::<Vec<_>>().concat();
        fs::write(world.repository.join("notes.txt"), lines("line")).unwrap();
        fs::write(world.repository.join("log.txt"), lines("entry")).unwrap();
        fs::write(world.repository.join("Makefile"), MAKEFILE).unwrap();
        fs::write(world.repository.join(".gitignore"), "main.o\n").unwrap();
        world.git(&["add", "."]);
        world.git(&["commit", "--quiet", "--message", "the project"]);
        let watch = "echo watching; while read -r go; do make -s; echo \"built: $?\"; done";
        for arguments in [
            &["new", "edit", "--", "vim", "-n", "--clean", "notes.txt"][..],
            &["new", "build", "--record", "--", "sh", "-c", watch],
            &["new", "data", "--", "python3", "-q"],
            &["run", "data", "--name", "pager", "--", "less", "log.txt"],
        ] {
            let _ = world.lane(arguments).ok();
        }
        let runs = BTreeMap::from(WORKERS.map(|(name, _)| (name, world.run_folder(name))));
        for (name, shows) in WORKERS {
            screen::wait_until(&runs[name], shows, |text| text.lines.iter().any(|line| line.contains(shows)));
        }
        let pids = BTreeMap::from(WORKERS.map(|(name, _)| (name, world.pid(name))));
        Self { world, pids, runs }
    }

    /// A window on a worker, once it shows what the worker's terminal does.
    #[track_caller]
    fn attach(&self, name: &str) -> Window {
        let mut window = self.world.window(&["attach", name], 80, 24);
        window.wait_until_like(&self.runs[name]);
        window
    }

    /// A worker's program does what it is there for, and is the one that was started in the morning.
    #[track_caller]
    fn works(&self, name: &str) {
        let (send, shows): (&[&str], &str) = match name {
            "edit" => (&["--enter", ":echo 'still' 'editing'"], "still editing"),
            "build" => (&["--enter", ""], "built: "),
            "data" => (&["--enter", "print('six times seven:', 6 * 7)"], "six times seven: 42"),
            "pager" => (&["G"], "entry 200"),
            other => panic!("who is {other}?"),
        };
        let before = self.world.json(&["read", name])["offset"].as_u64().unwrap();
        let _ = self.world.lane(&[&["send", name], send].concat()).ok();
        screen::wait_until(&self.runs[name], shows, |text| {
            text.offset > before && text.lines.iter().any(|line| line.contains(shows))
        });
        let worker = self.world.worker(name);
        assert_eq!((&worker["status"], &worker["run_number"]), (&json!("running"), &json!(1)), "{worker}");
        assert_eq!(worker["pid"], self.pids[name], "{worker}");
    }

    /// All of them do but these.
    #[track_caller]
    fn all_work_but(&self, over: &[&str]) {
        for (name, _) in WORKERS.iter().filter(|(name, _)| !over.contains(name)) {
            self.works(name);
        }
    }

    /// How a worker has ended.
    #[track_caller]
    fn exit(&self, name: &str) -> Value {
        self.world.wait_for_exit(self.world.worker(name)["id"].as_str().unwrap());
        self.world.worker(name)["exit"].clone()
    }
}

/// Leaves a window by its key.
#[track_caller]
fn leave(mut window: Window) {
    window.press(DETACH);
    window.wait_until_left_with(0);
    window.assert_is_given_back();
    window.close();
}

#[test]
fn a_day_s_work_in_three_lanes_is_done_saved_and_taken_down() {
    let day = Day::begin();
    let mut editor = day.attach("edit");
    for (keys, shows) in
        [("ggOa new first line", "-- INSERT --"), ("\x1b:w\r", "written"), (":set nu\r", "  1 a new")]
    {
        editor.press(keys);
        editor.wait_for(shows);
    }
    editor.wait_until_like(&day.runs["edit"]);
    leave(editor);
    // The build in its own lane, by its watcher and as a task.
    day.works("build");
    assert!(day.world.lane(&["exec", "build", "--", "make"]).code(2).out().contains("a test failed"));
    let _ = day.world.lane(&["exec", "build", "--", "touch", "fixed"]).ok();
    assert!(day.world.lane(&["exec", "build", "--", "make"]).ok().out().contains("all tests passed"));
    let mut prompt = day.attach("data");
    for (keys, shows) in [("total = sum(range(101))\r", ">>>"), ("print('total', total)\r", "total 5050")] {
        prompt.press(keys);
        prompt.wait_for(shows);
    }
    leave(prompt);
    let mut pager = day.attach("pager");
    pager.press("/entry 150\r");
    pager.wait_for_row("entry 150");
    leave(pager);
    day.all_work_but(&[]);
    // What was shown can be read and played.
    let read = day.world.lane(&["read", "data", "--all"]).ok().out();
    assert!(read.contains("total 5050") && read.contains("six times seven: 42"), "{read}");
    let played = day.world.lane(&["replay", "build"]).ok().out();
    assert!(played.contains("CC main.o") && played.contains("a test failed"), "{played}");

    // In the evening nothing is lost that was not saved.
    let refused = day.world.lane(&["close", "edit"]).code(5);
    assert!(refused.err().contains("notes.txt"), "{refused}");
    day.works("edit");
    let tree = day.world.worktree("edit");
    day.world.git_in(&tree, &["commit", "--quiet", "--all", "--message", "a first line"]);
    let refused = day.world.lane(&["close", "edit"]).code(5);
    assert!(refused.err().contains("commit"), "{refused}");
    day.world.git(&["merge", "--quiet", "lane/edit"]);
    let _ = day.world.lane(&["close", "build"]).code(5);
    let _ = day.world.lane(&["exec", "build", "--", "make", "clean"]).ok();
    let build = day.world.worker("build")["id"].as_str().unwrap().to_owned();
    for name in ["edit", "build", "data"] {
        let _ = day.world.lane(&["close", name]).ok();
        assert_eq!(lane(&day.world, name)["status"], "closed");
    }
    only_the_daemon_is_left(&day.world);
    // What was recorded outlives its lane.
    let replayed = day.world.lane(&["replay", &build]).ok().out();
    assert!(replayed.starts_with(&played), "{replayed}");
    assert!(
        fs::read_to_string(day.world.repository.join("notes.txt")).unwrap().starts_with("a new first line\n")
    );
}

#[test]
fn two_terminals_at_once_show_the_same_and_closing_one_is_no_matter() {
    let day = Day::begin();
    let run = day.runs["edit"].clone();
    let mut first = day.attach("edit");
    let mut second = day.attach("edit");
    first.wait_for("edit is used from elsewhere now");
    second.press(":set number hlsearch\r");
    second.wait_for("  1 line 1");
    second.wait_until_like(&run);
    first.wait_until_like(&run);
    // Closed by hand, as a window is: nobody in it is asked.
    second.close();
    day.works("edit");
    first.wait_for("still editing");
    // It looks on; who attaches anew is the one who types.
    let mut third = day.attach("edit");
    third.press("/line 150\r");
    third.wait_for("150 line 150");
    first.wait_until_like(&run);
    third.wait_until_like(&run);
    first.close();
    third.press("oin the third window\x1b:w\r");
    third.wait_for("written");
    leave(third);
    let notes = fs::read_to_string(day.world.worktree("edit").join("notes.txt")).unwrap();
    assert!(notes.contains("line 150\nin the third window\n"));
    day.all_work_but(&[]);
}

#[test]
fn the_daemon_is_killed_and_nobody_notices() {
    let day = Day::begin();
    let (mut editor, mut prompt) = (day.attach("edit"), day.attach("data"));
    let daemon = open(day.world.daemon_pid()).unwrap();
    day.world.kill_the_daemon();
    assert!(ends_within(&daemon, LIMIT));
    prompt.press("print('without a' + ' daemon')\r");
    prompt.wait_for("without a daemon");
    prompt.wait_until_like(&day.runs["data"]);
    editor.press(":set number\r");
    editor.wait_for("  1 line 1");
    editor.wait_until_like(&day.runs["edit"]);
    leave(prompt);
    leave(editor);
    assert!(!day.world.lane(&["daemon", "status"]).code(3).err().is_empty(), "nothing of this needed one");
    day.all_work_but(&[]);
}

#[test]
fn the_one_who_looks_is_killed_and_only_the_look_ends() {
    let day = Day::begin();
    let mut window = day.attach("edit");
    assert!(window.alternate_screen());
    kill(window.guard_and_client().1);
    window.wait_until_left_with(128 + 9);
    window.assert_is_given_back();
    let mut window = day.attach("pager");
    let (guard, client) = window.guard_and_client();
    let client = open(client).unwrap();
    kill(guard);
    assert!(ends_within(&client, LIMIT));
    window.wait_for("detached from pager");
    window.assert_is_given_back();
    day.all_work_but(&[]);
    leave(day.attach("edit"));
}

#[test]
fn a_program_is_killed_and_it_alone_has_ended() {
    let day = Day::begin();
    let mut window = day.attach("pager");
    kill(day.pids["pager"]);
    window.wait_for("pager has ended: ");
    window.wait_until_left_with(0);
    window.assert_is_given_back();
    assert_eq!(day.exit("pager"), json!({"kind": "signal", "signal": 9}));
    // Its last screen is there to look at, and it takes nothing more.
    assert!(day.world.lane(&["read", "pager"]).ok().out().contains("entry 20"));
    let _ = day.world.lane(&["send", "pager", "G"]).code(5);
    day.all_work_but(&["pager"]);
    assert_eq!(lane(&day.world, "data")["status"], "running", "the other worker of its lane goes on");
}

#[test]
fn a_holder_is_killed_and_its_program_alone_is_lost() {
    let day = Day::begin();
    day.works("build");
    let mut window = day.attach("build");
    let program = open(day.pids["build"]).unwrap();
    kill(parent(day.pids["build"]).unwrap());
    window.wait_for("build is lost");
    window.wait_until_left_with(1);
    window.assert_is_given_back();
    assert!(ends_within(&program, LIMIT), "the program ends with it");
    assert_eq!(day.exit("build"), json!({"kind": "lost"}));
    // It has left no last screen, but what was recorded of it.
    let _ = day.world.lane(&["read", "build"]).code(3);
    let played = day.world.lane(&["replay", "build"]).ok().out();
    assert!(played.starts_with("watching\r\n") && played.contains("built: "), "{played}");
    day.all_work_but(&["build"]);
    // The lane is there as it was, and can be worked in again.
    let _ = day.world.lane(&["run", "build", "--name", "again", "--", "sh", "-c", "make; exec cat"]).ok();
    screen::wait_until(&day.world.run_folder("again"), "the build", |text| {
        text.lines.iter().any(|line| line.contains("a test failed"))
    });
}
