//! The user's settings: where they are looked for, what they change, and that a broken file breaks nothing else.

use std::fs;
use std::path::Path;

use laneway_testkit::TestEnvironment;
use laneway_testkit::pty::Window;

use crate::environment;
use crate::support::fails;

/// Writes the settings of this world, whose home is not the default one.
#[track_caller]
pub(crate) fn settings(world: &TestEnvironment, text: &str) {
    fs::create_dir_all(&world.home).unwrap();
    fs::write(world.home.join("config.toml"), text).unwrap();
}

#[test]
fn the_key_that_leaves_is_the_one_that_was_set_unless_another_is_asked_for() {
    let world = environment();
    settings(&world, "detach_keys = \"ctrl-a\"\n");
    let run = world.start("a", &["fake-agent", "ready", "wait"]);
    for (arguments, key) in
        [(&["attach", "a"][..], "\x01"), (&["attach", "a", "--detach-keys", "ctrl-b"], "\x02")]
    {
        let mut window = world.window(arguments, 80, 24);
        window.wait_until_like(&run);
        window.press(key);
        window.wait_until_left_with(0);
        window.assert_is_given_back();
    }
}

#[test]
fn a_terminal_keeps_as_many_lines_as_was_set_when_it_was_started() {
    let world = environment();
    settings(&world, "[terminal]\nhistory_lines = 3\n");
    let script = "for n in $(seq 100); do echo line $n; done; echo ready; exec fake-agent wait";
    let first_kept = |name: &str| {
        let run = world.start(name, &["sh", "-c", script]);
        laneway_testkit::screen::wait_for_line(&run, "ready");
        let text = world.json(&["read", name, "--all"]);
        text["lines"][0].as_str().unwrap().to_owned()
    };
    // The screen shows 76 and what follows.
    assert_eq!(first_kept("a"), "line 76");
    settings(&world, "");
    assert_eq!(first_kept("b"), "line 1");
}

#[test]
fn a_broken_file_stops_what_needs_it_and_nothing_else() {
    let world = environment();
    world.start("a", &["fake-agent", "ready", "wait"]);
    settings(&world, "# mine\n[terminal]\nhistory_line = 5\n");
    let error = fails(&world, &["new", "b", "--", "fake-agent", "wait"], 2, "config_invalid");
    let place = format!(
        "{}:3:1: there is no setting `terminal.history_line`",
        world.home.join("config.toml").display()
    );
    let message = error["message"].as_str().unwrap();
    assert!(
        message.starts_with(&place) && message.ends_with("the nearest is `terminal.history_lines`"),
        "{message}"
    );
    assert!(error["hint"].as_str().unwrap().contains("config.toml"), "{error}");
    assert_eq!(world.json(&["ls"])["lanes"].as_array().map(Vec::len), Some(1), "nothing was made");
    let mut window = world.window(&["attach", "a"], 80, 24);
    window.wait_until_left_with(2);
    for needs_none in [
        &["daemon", "status"][..],
        &["new", "c"],
        &["exec", "c", "--", "true"],
        &["stop", "a"],
        &["close", "a", "c"],
        &["daemon", "restart"],
        &["daemon", "stop"],
    ] {
        let _ = world.lane(needs_none).ok();
    }
}

#[test]
fn the_settings_of_the_default_home_are_in_the_folder_for_settings() {
    let world = environment();
    let (state, config) = (world.root().join("state"), world.root().join("config"));
    fs::create_dir_all(config.join("laneway")).unwrap();
    fs::write(config.join("laneway/config.toml"), "nonsense = 1\n").unwrap();
    let attach = |home: Option<&Path>| {
        let mut setsid = world.program("setsid");
        setsid.env_remove("LANEWAY_HOME").env("XDG_CONFIG_HOME", &config).env("XDG_STATE_HOME", &state);
        setsid.envs(home.map(|home| ("LANEWAY_HOME", home)));
        let mut window = Window::open(setsid, &["lane", "attach", "a"], 200, 24);
        window.wait_until("its end", |window| window.rows().iter().any(|row| row.contains("left with")));
        let shown = window.all_lines().join("\n");
        window.close();
        shown
    };
    let place = config.join("laneway/config.toml:1:1").display().to_string();
    for home_that_is_the_default in [None, Some(state.join("laneway"))] {
        let shown = attach(home_that_is_the_default.as_deref());
        assert!(shown.contains(&place), "{shown}");
    }
    let shown = attach(Some(&world.home));
    assert!(!shown.contains("config.toml") && shown.contains("left with 3"), "{shown}");
}
