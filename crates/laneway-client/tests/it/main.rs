//! The example as a worker: what docs/channels.md says of the client holds with the real binary.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

use std::path::PathBuf;

use laneway_testkit::TestEnvironment;

/// Where this build has put its binaries; `lane` is there once the whole workspace is built.
fn built(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.ancestors().nth(2).unwrap().join(name)
}

#[test]
fn the_example_is_ready_does_what_it_is_told_answers_pings_and_ends_when_it_is_to() {
    let world = TestEnvironment::new(built("lane").to_str().unwrap(), env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(&world.home).unwrap();
    let settings = "[channel]\nready_timeout = \"5s\"\nheartbeat = \"500ms\"\n";
    std::fs::write(world.home.join("config.toml"), settings).unwrap();
    let example = built("examples/worker");
    let example = example.to_str().unwrap();
    let start = r#"{"mission": "m"}"#;
    let _ = world.lane(&["new", "a", "--channel", "jsonl", "--start-message", start, "--", example]).ok();
    let started = world.wait_for_event(0, "a round", |event| event["data"]["name"] == "round:start");
    assert_eq!(started["data"]["data"]["mission"], "m");
    let id = world.worker("a")["id"].clone();
    let told = world.wait_for_event(0, "who it is", |event| event["event"] == "worker.status");
    assert_eq!(told["data"]["status"]["worker"], id);
    // When another one was waited for in vain, three pings would have gone unanswered.
    let _ = world.lane(&["run", "a", "--name", "b", "--channel", "jsonl", "--", "sleep", "1000"]).ok();
    world.wait_for_event(0, "the end of patience", |event| event["event"] == "worker.unhealthy");
    assert_eq!(world.worker("a")["status"], "running");
    let _ = world.lane(&["message", "a", r#"{"type": "hello"}"#]).ok();
    world.wait_for_event(0, "an answer", |event| event["data"]["name"] == "heard");
    let _ = world.lane(&["stop", "a"]).ok();
    assert_eq!(world.worker("a")["exit"]["code"], 0, "by the message, without a signal");
}
