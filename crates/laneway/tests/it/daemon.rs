//! The daemon: started on demand, once; killed, replaced, and found again.

use crate::environment;

#[test]
fn what_runs_outlives_a_killed_daemon() {
    let world = environment();
    world.lane(&["new", "a", "--", "fake-agent", "ready", "wait"]).ok();
    let (daemon, program) = (world.daemon_pid(), world.pid("a"));
    world.kill_the_daemon();
    assert_eq!(world.pid("a"), program);
    assert_ne!(world.daemon_pid(), daemon);
}
