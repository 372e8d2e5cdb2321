//! Colours: on terminals, and where `NO_COLOR`, `CLICOLOR` and `CLICOLOR_FORCE` have it so; never in JSON.

use laneway_testkit::TestEnvironment;
use laneway_testkit::process::finish;
use laneway_testkit::pty::Window;

use crate::environment;

/// What a colour, and everything else that is no text, begins with.
const ESCAPE: u8 = 0x1b;

/// A lane with a worker that runs, one with a worker that has ended, and a change that a close would lose.
#[track_caller]
fn world() -> TestEnvironment {
    let world = environment();
    world.start("a", &["fake-agent", "ready", "wait"]);
    world.start("b", &["fake-agent", "ready", "wait"]);
    let _ = world.lane(&["stop", "b"]).ok();
    std::fs::write(world.worktree("a").join("work"), "").unwrap();
    world
}

/// Commands that change nothing, with how they end, and whether there is anything in them to colour.
const COMMANDS: [(&[&str], i32, bool); 19] = [
    (&[], 0, true),
    (&["ls"], 0, true),
    (&["ps"], 0, true),
    (&["show", "a"], 0, true),
    (&["show", "b"], 0, true),
    (&["events"], 0, true),
    (&["doctor"], 0, true),
    (&["close", "a"], 5, true),
    (&["show", "nothing"], 3, true),
    (&["--help"], 0, true),
    (&["close", "--help"], 0, true),
    (&["close", "--nonsense"], 2, true),
    (&["read", "a"], 0, false),
    (&["diff", "a"], 0, true),
    (&["path", "a"], 0, false),
    (&["exec", "a", "--", "echo", "plain"], 0, false),
    (&["daemon", "status"], 0, false),
    (&["daemon", "logs"], 0, false),
    (&["version"], 0, false),
];

#[test]
fn what_is_no_terminal_gets_colours_only_where_they_are_forced() {
    let world = world();
    for (arguments, code, can_be_coloured) in COMMANDS {
        let has_colours = |variables: &[(&str, &str)], json: bool| {
            let at = arguments.iter().position(|word| *word == "--").unwrap_or(arguments.len());
            let (ours, theirs) = arguments.split_at(at);
            let arguments = [ours, if json { &["--json"] } else { &[] }, theirs].concat();
            let finished = finish(world.lane_command(&arguments).envs(variables.iter().copied()), b"");
            let finished = finished.code(code);
            [finished.stdout, finished.stderr].concat().contains(&ESCAPE)
        };
        assert!(!has_colours(&[], false), "{arguments:?}");
        let forced = ("CLICOLOR_FORCE", "1");
        assert_eq!(has_colours(&[forced], false), can_be_coloured, "{arguments:?}");
        assert!(!has_colours(&[forced, ("NO_COLOR", "1")], false), "{arguments:?}");
        if !arguments.contains(&"--help") {
            assert!(!has_colours(&[forced], true), "{arguments:?} --json");
        }
    }
}

#[test]
fn a_terminal_gets_colours_unless_somebody_wants_none() {
    let world = world();
    let has_colours = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut setsid = world.program("setsid");
        setsid.envs(variables.iter().copied());
        let mut window = Window::open(setsid, &[&["lane"], arguments].concat(), 100, 50);
        window
            .wait_until("its end", |window| window.all_lines().iter().any(|line| line.contains("left with")));
        let styled = window.styled_rows().concat().into_bytes();
        window.close();
        styled.contains(&ESCAPE)
    };
    for arguments in [&["ls"][..], &["doctor"], &["diff", "a"], &["close", "a"], &["--help"]] {
        assert!(has_colours(arguments, &[]), "{arguments:?}");
        for none in [("NO_COLOR", "1"), ("CLICOLOR", "0"), ("TERM", "dumb")] {
            assert!(!has_colours(arguments, &[none]), "{arguments:?} {none:?}");
        }
    }
}
