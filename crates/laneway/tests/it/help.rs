//! What `--help` says, and what a command line that makes no sense gets.

use std::process::{Command, Output};

/// `lane` with nothing of the caller's environment, so that it can start no daemon and find no home.
#[expect(clippy::disallowed_methods, reason = "the program under test is started here")]
fn lane(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lane")).args(arguments).env_clear().output().expect("lane can be run")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("what lane says is UTF-8")
}

#[test]
fn the_help_lists_every_verb_with_examples_and_exit_codes() {
    let output = lane(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    insta::assert_snapshot!(text(&output.stdout));
}

#[test]
fn every_verb_has_help_with_an_example() {
    let verbs = [
        "new",
        "adopt",
        "diff",
        "join",
        "leave",
        "share",
        "tmux",
        "unshare",
        "message",
        "program",
        "rename",
        "run",
        "exec",
        "ls",
        "ps",
        "show",
        "path",
        "attach",
        "read",
        "logs",
        "wait",
        "replay",
        "send",
        "stop",
        "close",
        "setup",
        "trust",
        "init",
        "events",
        "serve",
        "token",
        "web",
        "daemon",
        "doctor",
        "completions",
        "man",
        "version",
    ];
    for verb in verbs {
        let output = lane(&[verb, "--help"]);
        assert_eq!(output.status.code(), Some(0), "{verb}");
        assert!(text(&output.stdout).contains("EXAMPLES:\n  "), "{verb} has no example");
    }
}

#[test]
fn an_unknown_verb_is_refused_with_the_closest_one() {
    let output = lane(&["atach"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("'attach'"), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "");
}

#[test]
fn a_usage_error_is_one_json_document_where_json_was_asked_for() {
    let output = lane(&["new", "--json", "--nonsense"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stderr), "");
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["error"]["kind"], "usage");
    let behind_the_dashes = lane(&["new", "--nonsense", "--", "echo", "--json"]);
    assert_eq!(text(&behind_the_dashes.stdout), "");
}

#[test]
fn a_home_that_nobody_names_is_a_usage_error() {
    let output = lane(&["ls"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(text(&output.stderr).contains("LANEWAY_HOME"), "{}", text(&output.stderr));
}

#[test]
fn commands_that_need_no_daemon_start_none() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let home = folder.path().join("home");
    #[expect(clippy::disallowed_methods, reason = "the program under test is started here")]
    let lane = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lane"));
        command.args(arguments).env_clear().env("LANEWAY_HOME", &home).output().unwrap()
    };
    for (arguments, code) in [
        (&["version"][..], 0),
        (&["completions", "bash"], 0),
        (&["man"], 0),
        (&["doctor"], 1),
        (&["daemon", "stop"], 0),
        (&["daemon", "status"], 3),
        (&["daemon", "logs"], 3),
    ] {
        let output = lane(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        assert!(!home.exists(), "{arguments:?} made the home");
    }
}

#[test]
fn a_name_that_is_empty_no_utf8_or_like_an_option_is_a_usage_error_that_says_so() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    for (arguments, said) in [
        ([OsStr::new("show"), OsStr::new("")], "a value is required"),
        ([OsStr::new("show"), OsStr::from_bytes(b"a\xff")], "a\\xff is not UTF-8"),
        ([OsStr::new("new"), OsStr::new("-x")], "unexpected argument '-x'"),
    ] {
        #[expect(clippy::disallowed_methods, reason = "the program under test is started here")]
        let output = Command::new(env!("CARGO_BIN_EXE_lane")).args(arguments).env_clear().output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(said), "{}", text(&output.stderr));
        assert!(!text(&output.stderr).contains("'-- -x'"), "a program would follow the dashes");
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let pages = folder.path().join("man1");
    let output = lane(&["man", "--json", "--dir", pages.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let written: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut names: Vec<_> = std::fs::read_dir(&pages)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let mut told: Vec<_> =
        written["pages"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    told.sort_unstable();
    assert_eq!(names, told);
    for name in ["lane.1", "lane-attach.1", "lane-daemon.1", "lane-daemon-install.1"] {
        assert!(names.iter().any(|other| other == name), "{name}: {names:?}");
    }
    let attach = std::fs::read(pages.join("lane-attach.1")).unwrap();
    assert_eq!(lane(&["man", "attach"]).stdout, attach);
    let attach = text(&attach);
    for part in [".TH lane-attach 1", ".SH EXAMPLES", "detach\\-keys"] {
        assert!(attach.contains(part), "{part}\n{attach}");
    }
    assert_eq!(
        lane(&["man", "daemon", "install"]).stdout,
        std::fs::read(pages.join("lane-daemon-install.1")).unwrap()
    );
    assert_eq!(lane(&["man", "nonsense"]).status.code(), Some(3));
    assert_eq!(lane(&["man", "--dir", "/proc/nowhere"]).status.code(), Some(1));
}
