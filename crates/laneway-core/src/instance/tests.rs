//! Tests of the picture and the history of instances.

use super::*;
use proptest::prelude::*;
use serde_json::json;
use ulid::Ulid;

fn instance() -> Instance {
    Instance {
        id: InstanceId::from_ulid(Ulid::from(1_u128)),
        workspace: WorkspaceId::from_ulid(Ulid::from(2_u128)),
        program: "orchestrator".into(),
        name: InstanceName::default_one(),
        epoch: 1,
        starting: false,
        failure: None,
        lane: None,
        worker: None,
        start: Start { mission: Some("tidy".into()), ..Start::default() },
        config: InstanceConfig::default(),
        picture: Picture::default(),
        n_runs: 0,
        created_at: Timestamp(0),
    }
}

/// Says one event after the other, each a millisecond later; gives what became of all of them.
fn after(events: &[(&str, Value)], asked: bool) -> (Instance, Vec<InstanceRun>) {
    let (mut known, mut runs) = (instance(), Vec::<InstanceRun>::new());
    for ((name, data), n) in events.iter().zip(1_u64..) {
        let open = runs.iter().find(|run| run.outcome == Outcome::Running).cloned();
        let now = Timestamp(0).plus_millis(n);
        let seen = Circumstances { open: open.as_ref(), asked, done_codes: &[42], now };
        let Some(told) = told(&known, name, data, seen) else { continue };
        known = told.instance;
        for run in told.runs {
            runs.retain(|before| before.number != run.number);
            runs.push(run);
        }
    }
    (known, runs)
}

#[test]
fn what_is_an_id_of_an_instance_and_what_is_not() {
    for good in ["a", "A-b_9", "-", &"x".repeat(64)] {
        assert_eq!(good.parse::<InstanceName>().unwrap().as_str(), good);
    }
    for bad in ["", "..", "a.b", "a/b", "%2e%2e", "ä", "a b", "a\0", &"x".repeat(65)] {
        assert_eq!(bad.parse::<InstanceName>(), Err(NotAnInstanceName), "{bad:?}");
    }
}

#[test]
fn an_instance_is_called_after_its_program_where_that_is_a_name() {
    let name = |program: &str, id: &str| name_of(program, &id.parse().unwrap()).to_string();
    assert_eq!(name("orchestrator", "default"), "orchestrator.default");
    assert!(name("orchestrator", "Default").starts_with("i-orchestrator-default-"));
    assert!(name("orchestrator", "lock").starts_with("i-orchestrator-lock-"), "git refuses .lock");
    assert!(name("../etc", &"-".repeat(64)).starts_with("i-etc-"));
}

proptest! {
    #[test]
    fn two_instances_are_never_called_the_same(
        programs in ("[a-zA-Z.-]{1,3}|.{0,80}", "[a-zA-Z.-]{1,3}|.{0,80}"),
        ids in ("[a-cA-C_-]{1,3}|[A-Za-z0-9_-]{60,64}", "[a-cA-C_-]{1,3}|[A-Za-z0-9_-]{60,64}"),
    ) {
        let name = |program: &str, id: &str| name_of(program, &id.parse().unwrap());
        let (one, other) = ((&programs.0, &ids.0), (&programs.1, &ids.1));
        prop_assert_eq!(name(one.0, one.1) == name(other.0, other.1), one == other);
    }
}

#[test]
fn events_of_the_program_move_its_picture_and_its_history() {
    let (known, runs) = after(
        &[
            ("orchestrator:started", json!({ "mission": "m.json", "model": "large", "dryRun": true })),
            ("round:start", json!({ "round": 2 })),
            ("agent:start", json!({ "agentId": "a", "model": "small" })),
            ("agent:start", json!({ "agentId": "b" })),
            ("agent:complete", json!({ "agentId": "a", "elapsedMs": 12.5, "cost": 0.5 })),
            ("agent:error", json!({ "agentId": "nobody" })),
            ("agent:continuation", json!({ "agentId": "b", "cost": 1 })),
            ("round:start", json!({})),
            ("something:else", json!({ "round": 9 })),
            ("orchestrator:stopped", json!({ "code": 42 })),
        ],
        false,
    );
    let Picture { finished, round, mission, agents, dry_run, .. } = &known.picture;
    assert_eq!((*finished, *round, mission.as_deref(), *dry_run), (true, 3, Some("m.json"), true));
    let seen: Vec<_> =
        agents.iter().map(|agent| (agent.id.as_str(), agent.status, agent.continuations)).collect();
    assert_eq!(seen, [("a", AgentStatus::Complete, 0), ("b", AgentStatus::Stopped, 1)]);
    let [run] = &runs[..] else { panic!("{runs:?}") };
    assert_eq!((run.outcome, run.rounds, run.agents, run.number), (Outcome::Completed, 3, 2, 1));
    assert_eq!(run.stopped_at.unwrap().millis_since(run.started_at), 9);
}

#[test]
fn how_a_run_ended_is_what_was_asked_or_what_the_program_says() {
    #[track_caller]
    fn check(data: Value, asked: bool, expected: Outcome) {
        let started = ("orchestrator:started", json!({}));
        let (_, runs) = after(&[started, ("orchestrator:stopped", data)], asked);
        assert_eq!(runs[0].outcome, expected);
    }
    check(json!({}), false, Outcome::Completed);
    check(json!({ "code": 0, "signal": null }), false, Outcome::Completed);
    check(json!({ "code": 1 }), false, Outcome::Error);
    check(json!({ "code": -1 }), false, Outcome::Error);
    check(json!({ "code": null, "signal": "SIGKILL" }), false, Outcome::Error);
    check(json!({ "error": "no such file" }), false, Outcome::Error);
    check(json!({ "code": null, "signal": "SIGTERM" }), true, Outcome::Stopped);
    check(json!([]), false, Outcome::Completed);
}

#[test]
fn a_run_whose_end_was_not_said_is_lost_when_the_next_one_starts() {
    let started = || ("orchestrator:started", json!({}));
    let (known, runs) = after(&[started(), started()], false);
    assert_eq!(known.n_runs, 2);
    assert_eq!(runs.iter().map(|run| run.outcome).collect::<Vec<_>>(), [Outcome::Lost, Outcome::Running]);
    assert_eq!(known.picture.mission.as_deref(), Some("tidy"), "what it was told to do");
}

#[test]
fn the_end_of_a_program_ends_its_run() {
    let (known, runs) = after(&[("orchestrator:started", json!({}))], false);
    for (exit, asked, expected) in [
        (Exit::Code { code: 0 }, false, Outcome::Completed),
        (Exit::Code { code: 42 }, false, Outcome::Completed),
        (Exit::Code { code: 3 }, false, Outcome::Error),
        (Exit::Signal { signal: 9 }, false, Outcome::Error),
        (Exit::Signal { signal: 15 }, true, Outcome::Stopped),
        (Exit::Lost, false, Outcome::Lost),
        (Exit::Lost, true, Outcome::Lost),
        (Exit::ClosedByHand, false, Outcome::Stopped),
        (Exit::Unresponsive { reason: "silent".into() }, false, Outcome::Error),
    ] {
        let seen = Circumstances { open: runs.first(), asked, done_codes: &[42], now: Timestamp(9) };
        assert_eq!(program_ended(&known, &exit, seen).runs[0].outcome, expected, "{exit}");
    }
}

#[test]
fn settings_and_starts_that_make_no_sense_name_their_field() {
    #[track_caller]
    fn check<T: serde::de::DeserializeOwned>(
        json: Value,
        check: fn(&T) -> Result<(), BadSetting>,
        bad: &str,
    ) {
        let refused = check(&serde_json::from_value(json).unwrap()).err();
        assert_eq!(refused.map_or("", |bad| bad.field), bad);
    }
    let config = InstanceConfig::check;
    check(json!({ "model": "opus", "maxBudgetUsd": 0.5, "maxTurns": 1 }), config, "");
    check(json!({ "model": "" }), config, "model");
    check(json!({ "model": "a\nb" }), config, "model");
    check(json!({ "maxBudgetUsd": 0 }), config, "maxBudgetUsd");
    check(json!({ "maxBudgetUsd": -1.5 }), config, "maxBudgetUsd");
    check(json!({ "maxTurns": 0 }), config, "maxTurns");
    check(json!({ "mission": "do\nthis" }), Start::check, "");
    check(json!({ "mission": "x".repeat(5_000) }), Start::check, "mission");
    check(json!({ "handoffFile": "" }), Start::check, "handoffFile");
    check(json!({ "model": "\u{7}" }), Start::check, "model");
}

#[test]
fn a_flood_of_agents_and_odd_data_are_borne() {
    let mut events = vec![("orchestrator:started", json!("odd"))];
    events.extend((0..1_100).map(|n| ("agent:start", json!({ "agentId": format!("a{n}") }))));
    events.extend([("agent:start", json!(null)), ("round:start", json!({ "round": -1 }))]);
    let (known, _) = after(&events, false);
    assert_eq!((known.picture.agents.len(), known.picture.round), (MAX_AGENTS, 1));
}
