//! What takes its time says so on a terminal, and leaves nothing of that behind.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use laneway_testkit::TestEnvironment;
use laneway_testkit::process::finish;

use crate::environment;
use crate::support::Pipe;

/// Holds up the making of every lane until the pipe `release` gets a line; tells through `reached` that it does.
#[track_caller]
pub(crate) fn slow_hook(world: &TestEnvironment) -> (Pipe, Pipe) {
    let (reached, release) = (Pipe::new(world, "reached"), Pipe::new(world, "release"));
    let hook = world.repository.join(".git/hooks/post-checkout");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    let script = format!("#!/bin/sh\necho x > {}\nread -r _ < {}\n", reached.text(), release.text());
    fs::write(&hook, script).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    (reached, release)
}

#[test]
fn what_takes_longer_than_a_second_says_so_on_a_terminal_and_the_line_is_gone_afterwards() {
    let world = environment();
    let (reached, release) = slow_hook(&world);
    let mut window = world.window(&["new", "a"], 80, 24);
    reached.wait();
    window.wait_for("making lane a … ");
    release.go();
    window.wait_until_left_with(0);
    assert!(window.all_lines().iter().all(|line| !line.contains('…')), "{:?}", window.all_lines());
    assert!(window.all_lines()[0].starts_with("lane a"), "{:?}", window.all_lines());
    window.close();
}

#[test]
fn with_nobody_at_a_terminal_nothing_is_said() {
    let world = environment();
    let (reached, release) = slow_hook(&world);
    let made = std::thread::scope(|scope| {
        let making = scope.spawn(|| finish(&mut world.lane_command(&["new", "a"]), b""));
        reached.wait();
        // A window that counts beside it shows that a second has gone by.
        let mut window = world.window(&["new", "b"], 80, 24);
        reached.wait();
        window.wait_for("making lane b … ");
        release.go();
        release.go();
        window.wait_until_left_with(0);
        window.close();
        making.join().unwrap()
    });
    assert_eq!(made.ok().err(), "");
}
