//! Supervision: workers that are started again, by their policy or because somebody asks for it.

use serde_json::json;

use crate::environment;
use crate::support::fails;

#[test]
fn a_policy_is_recorded_as_it_was_asked_for() {
    let world = environment();
    let _ = world.lane(&["new", "a", "--restart", "always", "--", "fake-agent", "wait"]).ok();
    let _ = world.lane(&["run", "a", "--name", "b", "--restart", "on-failure", "--done-code", "42"]).ok();
    let _ = world.lane(&["run", "a", "--name", "c", "--", "fake-agent", "wait"]).ok();
    for (name, restart, done_codes) in
        [("a", "always", json!([])), ("b", "on-failure", json!([42])), ("c", "never", json!([]))]
    {
        let worker = world.worker(name);
        assert_eq!((&worker["restart"], &worker["done_codes"]), (&json!(restart), &done_codes));
    }
    assert!(world.lane(&["show", "a/b"]).ok().out().contains("on-failure (done with 42)"));
    let _ = fails(&world, &["run", "a", "--restart", "sometimes"], 2, "usage");
    let _ = fails(&world, &["new", "d", "--restart", "always"], 2, "usage");
}
