//! The repository's `post-checkout` hook: run as git would, never in the way.

use std::time::{Duration, Instant};

use laneway_git::{CreateWarning, RunError};

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::world::{NOT_STUCK, World, script, within_limit};

fn hook(world: &World) -> std::path::PathBuf {
    world.root().join(".git/hooks/post-checkout")
}

#[test]
fn the_hook_gets_what_worktree_add_would_give_it() {
    let world = World::new();
    let says = |out: &str| {
        format!(
            "{{ echo \"$@\"; pwd; git rev-parse --show-toplevel; echo \"${{GIT_DIR-none}} $(cat)\"; }} > {out}"
        )
    };
    let (theirs, ours) = (world.path("theirs"), world.path("ours"));
    script(&hook(&world), &says(theirs.to_str().unwrap()));
    world.run(&world.root(), &["worktree", "add", "--quiet", "-b", "theirs", "../lane"]);
    world.run(&world.root(), &["worktree", "remove", "../lane"]);
    script(&hook(&world), &says(ours.to_str().unwrap()));
    let record = world.lane("x");
    let read = |path, tree: &std::path::Path| {
        std::fs::read_to_string(path).unwrap().replace(tree.to_str().unwrap(), "TREE")
    };
    let expected = read(theirs, &world.path("lane"));
    assert!(expected.contains("TREE\nTREE"), "{expected}");
    assert_eq!(read(ours, &record.path), expected);
}

#[test]
fn the_hook_is_found_where_the_configuration_says() {
    let world = World::new();
    script(&world.path("elsewhere/post-checkout"), "echo seen > seen");
    world.run(&world.root(), &["config", "core.hooksPath", world.path("elsewhere").to_str().unwrap()]);
    let record = world.lane("x");
    assert!(record.path.join("seen").exists());
}

#[test]
fn a_hook_without_an_interpreter_line_is_for_the_shell_and_one_that_is_not_executable_is_none() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    script(&hook(&world), "");
    std::fs::write(hook(&world), "echo seen > seen\n").unwrap();
    assert!(world.lane("x").path.join("seen").exists());
    std::fs::set_permissions(hook(&world), PermissionsExt::from_mode(0o644)).unwrap();
    assert!(!world.lane("y").path.join("seen").exists());
}

#[test]
fn a_failing_hook_is_a_warning_with_its_words_and_the_tree_stays() {
    let world = World::new();
    script(&hook(&world), "echo so; echo sorry >&2; exit 7");
    let record = world.preflight("x");
    let created = world.repository().create(&record).unwrap();
    let [CreateWarning::Hook(RunError::Failed { code: Some(7), stderr, .. })] = created.warnings.as_slice()
    else {
        panic!("{:?}", created.warnings);
    };
    assert!(stderr.contains("so\n") && stderr.contains("sorry\n"), "{stderr}");
    assert!(world.judge(&record).is_clean());
}

#[test]
fn a_hook_that_prints_a_lot_is_bounded() {
    let world = World::new();
    script(&hook(&world), "head -c 30000000 /dev/zero | tr '\\0' x; head -c 3000000 /dev/zero >&2; exit 1");
    let record = world.preflight("x");
    let created = world.repository().create(&record).unwrap();
    let [CreateWarning::Hook(RunError::Failed { stderr, .. })] = created.warnings.as_slice() else {
        panic!("{:?}", created.warnings);
    };
    assert!(stderr.len() <= 64 << 10);
}

#[test]
fn a_hanging_hook_is_ended_with_all_that_it_started() {
    let world = World::new();
    let pid_file = world.path("pid");
    script(
        &hook(&world),
        &format!("trap '' TERM; sleep 1000 & echo $! > {}; wait; wait", pid_file.display()),
    );
    let record = world.preflight("x");
    let repository = world.repository_with(|limits| limits.hook = Duration::from_millis(500));
    let begun = Instant::now();
    let created = within_limit(move || repository.create(&record).unwrap());
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert!(matches!(created.warnings.as_slice(), [CreateWarning::Hook(RunError::TimedOut { .. })]));
    let pid = std::fs::read_to_string(pid_file).unwrap();
    assert!(ends(pid.trim().parse().unwrap()), "the hook's child still runs");
}

/// Whether a process that was told to end does so.
fn ends(pid: i32) -> bool {
    let pid = Pid::from_raw(pid).unwrap();
    let Ok(process) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else { return true };
    let limit = rustix::event::Timespec::try_from(NOT_STUCK).unwrap();
    rustix::event::poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&limit)).unwrap() == 1
}

#[test]
fn something_that_a_hook_leaves_running_is_not_waited_for() {
    let world = World::new();
    let pid_file = world.path("pid");
    script(&hook(&world), &format!("sleep 1000 & echo $! > {}", pid_file.display()));
    let record = world.preflight("x");
    let repository = world.repository();
    let removed_too = within_limit(move || {
        assert!(repository.create(&record).unwrap().warnings.is_empty());
        repository.undo(&record).unwrap().left.is_empty()
    });
    assert!(removed_too);
    let pid: i32 = std::fs::read_to_string(pid_file).unwrap().trim().parse().unwrap();
    rustix::process::kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    assert!(ends(pid));
}
