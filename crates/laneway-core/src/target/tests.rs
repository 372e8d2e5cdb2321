//! The table of targets, in the order of the grammar.

use super::*;
use ulid::Ulid;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn worker_id(n: u128) -> WorkerId {
    WorkerId::from_ulid(Ulid::from(n))
}

fn lane(n: u128, text: &str) -> LaneEntry {
    LaneEntry { id: LaneId::from_ulid(Ulid::from(n)), name: name(text), open: true }
}

fn worker(n: u128, lane: u128, text: Option<&str>, alive: bool) -> WorkerEntry {
    WorkerEntry {
        id: worker_id(n),
        lane: LaneId::from_ulid(Ulid::from(lane)),
        name: text.map(name),
        parent: None,
        run: Some(RunId::from_ulid(Ulid::from(n + 1000))),
        alive,
    }
}

fn server(pid: u32) -> TmuxServer {
    TmuxServer { socket: "/tmp/s".into(), pid, start_time: 1, boot_id: "b".to_owned() }
}

fn pane(id: &str, session: &str, window: (&str, &str), owner: Owner) -> PaneEntry {
    PaneEntry {
        server: server(1),
        near: false,
        pane_id: id.to_owned(),
        pane_index: Some(0),
        place: PanePlace {
            session_id: "$0".to_owned(),
            session: session.to_owned(),
            window_id: Some(window.0.to_owned()),
            window_name: window.1.to_owned(),
        },
        owner,
        shows: None,
    }
}

fn of(n: u128, number: u32) -> Owner {
    Owner::Worker { id: worker_id(n), number, gone: false }
}

fn snapshot() -> Snapshot {
    let elsewhere = Owner::Elsewhere { worker: "far".to_owned(), root: "/far".into() };
    Snapshot {
        lanes: vec![
            lane(1, "a"),
            lane(2, "b"),
            lane(3, "empty"),
            LaneEntry { open: false, ..lane(4, "gone") },
            lane(5, "bd-421"),
        ],
        workers: vec![
            worker(11, 1, Some("a"), true),
            WorkerEntry { parent: Some(worker_id(11)), ..worker(12, 2, Some("edit"), true) },
            worker(13, 2, Some("test"), true),
            worker(14, 1, None, true),
            worker(15, 4, Some("edit"), true),
            worker(16, 4, Some("ghost"), false),
            worker(17, 4, Some("bd-42"), false),
            worker(18, 5, Some("bd-421"), true),
        ],
        panes: vec![
            pane("%1", "dev", ("@1", "edit"), of(12, 0)),
            PaneEntry { pane_index: Some(1), ..pane("%2", "dev", ("@1", "edit"), of(12, 1)) },
            pane("%3", "dev", ("@1", "edit"), Owner::Worker { id: worker_id(12), number: 2, gone: true }),
            pane("%4", "dev", ("@2", "v1.2: a b"), of(13, 0)),
            // The same window, linked into another session.
            pane("%4", "other", ("@2", "v1.2: a b"), of(13, 0)),
            pane("%5", "dev", ("@5", "mine"), Owner::Nobody),
            pane("%6", "far", ("@6", "far"), elsewhere),
            pane("%7", "shared", ("@7", "both"), of(11, 0)),
            pane("%8", "shared", ("@7", "both"), of(18, 0)),
            pane("%9", "dev", ("@9", "bd-421"), of(18, 1)),
        ],
        near_is_known: false,
        former_runs: vec![FormerRun {
            id: RunId::from_ulid(Ulid::from(7_u128)),
            worker: worker_id(12),
            number: 1,
        }],
        caller: Some(worker_id(12)),
        last_attached: Some(worker_id(13)),
    }
}

#[track_caller]
fn check_in(
    snapshot: &Snapshot,
    text: &str,
    wanted: Wanted,
    how: Use,
    expected: Result<(Target, Method), &str>,
) {
    let found = resolve(snapshot, text, wanted, how);
    let found = found.map(|meant| (meant.target, meant.method)).map_err(|error| error.to_string());
    assert_eq!(found, expected.map_err(str::to_owned), "{text:?}");
}

#[track_caller]
fn check(text: &str, wanted: Wanted, expected: Result<(Target, Method), &str>) {
    check_in(&snapshot(), text, wanted, Use::Acting, expected);
}

#[track_caller]
fn check_reading(text: &str, expected: Result<(Target, Method), &str>) {
    check_in(&snapshot(), text, Wanted::Worker, Use::Reading, expected);
}

fn at(n: u128, pane: u32, method: Method) -> (Target, Method) {
    (Target::Worker { id: worker_id(n), pane }, method)
}

fn lane_at(n: u128, method: Method) -> (Target, Method) {
    (Target::Lane(LaneId::from_ulid(Ulid::from(n))), method)
}

#[test]
fn signs_are_about_the_caller() {
    check(".", Wanted::Worker, Ok(at(12, 0, Method::Caller)));
    check("..", Wanted::Either, Ok(at(11, 0, Method::Parent)));
    check("-", Wanted::Worker, Ok(at(13, 0, Method::LastAttached)));
    check(".", Wanted::Lane, Err("there is no lane \".\" in this repository"));
    let outside = Snapshot { caller: None, last_attached: Some(worker_id(99)), ..snapshot() };
    let refused = |text, expected| check_in(&outside, text, Wanted::Worker, Use::Acting, Err(expected));
    refused(".", "\".\" is about the worker that you are in, and you are in none of this repository");
    refused("..", "\"..\" is about the worker that you are in, and you are in none of this repository");
    refused("-", "\"-\" is what was attached to last, and that is nothing in this repository");
    let orphan = Snapshot { caller: Some(worker_id(13)), ..snapshot() };
    let no_parent = Err("the worker that you are in has no parent: a person asked for it");
    check_in(&orphan, "..", Wanted::Worker, Use::Acting, no_parent);
}

#[test]
fn ids_their_beginnings_and_their_ends() {
    check("ln_00000000000000000000000004", Wanted::Lane, Ok(lane_at(4, Method::Id)));
    check("wk_0000000000000000000000000D", Wanted::Worker, Ok(at(13, 0, Method::Id)));
    check("00000D", Wanted::Worker, Ok(at(13, 0, Method::Id)));
    check("rn_000000000000000000000000ZM", Wanted::Worker, Ok(at(12, 0, Method::Id)));
    check("wk_", Wanted::Lane, Err("there is no lane \"wk_\" in this repository"));
    let Err(TargetError::Ambiguous { candidates, .. }) =
        resolve(&snapshot(), "wk_000000", Wanted::Worker, Use::Acting)
    else {
        panic!("all of them begin so")
    };
    assert_eq!(candidates.len(), 8);
}

#[test]
fn a_former_run_is_read_and_never_acted_upon() {
    let id = "rn_00000000000000000000000007";
    check_reading(id, Ok((Target::Run { worker: worker_id(12), number: 1 }, Method::Id)));
    let refused = format!("{id} is run 1 of b/edit, which was started again since");
    check(id, Wanted::Worker, Err(&refused));
    check(&format!("{id}:1"), Wanted::Worker, Err(&refused));
    check(id, Wanted::Lane, Err(&format!("there is no lane {id:?} in this repository")));
}

#[test]
fn a_window_that_shows_a_worker_is_nobodys_and_says_whose_it_shows() {
    let mut with_viewer = snapshot();
    let shows = Some(worker_id(11));
    with_viewer.panes.push(PaneEntry { shows, ..pane("%20", "dev", ("@20", "a"), Owner::Nobody) });
    let window = Target::Pane { server: server(1), pane_id: "%20".to_owned(), shows };
    let no_worker = "is a pane of tmux that no worker has (%20 at dev:a), and Laneway uses only its own";
    for text in ["@20", "%20"] {
        let found = Ok((window.clone(), Method::Viewer));
        check_in(&with_viewer, text, Wanted::Worker, Use::Reading, found);
        let refused = format!("{text} {no_worker}");
        check_in(&with_viewer, text, Wanted::Worker, Use::Acting, Err(&refused));
    }
}

#[test]
fn panes_and_windows_by_their_ids() {
    check("%1", Wanted::Worker, Ok(at(12, 0, Method::Pane)));
    check("%2", Wanted::Worker, Ok(at(12, 1, Method::Pane)));
    check("%4", Wanted::Either, Ok(at(13, 0, Method::Pane)));
    check("@1", Wanted::Worker, Ok(at(12, 0, Method::Window)));
    check("@2", Wanted::Worker, Ok(at(13, 0, Method::Window)));
    check("@9", Wanted::Worker, Ok(at(18, 1, Method::Window)));
    check("@7", Wanted::Worker, Err("\"@7\" can mean a/a, bd-421/bd-421"));
    check("%6", Wanted::Worker, Err("%6 is worker far of another repository, /far"));
    let foreign = "%5 is a pane of tmux that no worker has (%5 at dev:mine), and Laneway uses only its own";
    check("%5", Wanted::Worker, Err(foreign));
    check_reading(
        "%5",
        Ok((Target::Pane { server: server(1), pane_id: "%5".to_owned(), shows: None }, Method::Pane)),
    );
    check("%3", Wanted::Worker, Err("there is no pane %3 of tmux here"));
    check("%1", Wanted::Lane, Err("there is no lane \"%1\" in this repository"));
    check("%", Wanted::Worker, Err("there is no worker \"%\" in this repository"));
    check("%1x", Wanted::Worker, Err("there is no worker \"%1x\" in this repository"));
}

#[test]
fn an_unknown_window_or_pane_names_those_that_are_known() {
    let known = |text| match resolve(&snapshot(), text, Wanted::Worker, Use::Reading) {
        Err(TargetError::NotInTmux { known, .. }) => known,
        other => panic!("{other:?}"),
    };
    assert_eq!(known("@999")[..3], ["@1 (dev:edit)", "@2 (dev:v1.2: a b)", "@2 (other:v1.2: a b)"]);
    assert!(known("%999").contains(&"%4 (other:v1.2: a b)".to_owned()));
    assert!(!known("%999").iter().any(|pane| pane.starts_with("%3")), "it is closed");
}

#[test]
fn of_two_servers_that_of_the_caller_is_meant() {
    let mut two = snapshot();
    two.panes.push(PaneEntry { server: server(2), near: true, ..pane("%1", "x", ("@1", "x"), of(18, 0)) });
    check_in(&two, "%1", Wanted::Worker, Use::Acting, Ok(at(18, 0, Method::Pane)));
    two.panes.last_mut().unwrap().near = false;
    check_in(&two, "%1", Wanted::Worker, Use::Acting, Err("\"%1\" can mean b/edit, bd-421/bd-421"));
}

#[test]
fn nothing_is_done_to_what_is_in_another_server_than_the_callers() {
    let mut inside = snapshot();
    inside.near_is_known = true;
    let refused = "%1 is not in the tmux that is meant here; in the one at /tmp/s it is b/edit";
    check_in(&inside, "%1", Wanted::Worker, Use::Acting, Err(refused));
    check_in(&inside, "%1", Wanted::Worker, Use::Reading, Ok(at(12, 0, Method::Pane)));
    for pane in &mut inside.panes {
        pane.near = true;
    }
    check_in(&inside, "%1", Wanted::Worker, Use::Acting, Ok(at(12, 0, Method::Pane)));
}

#[test]
fn panes_of_a_worker_by_their_numbers() {
    check("edit:0", Wanted::Worker, Ok(at(12, 0, Method::WorkerPane)));
    check("edit:1", Wanted::Worker, Ok(at(12, 1, Method::WorkerPane)));
    check("b/edit:1", Wanted::Worker, Ok(at(12, 1, Method::WorkerPane)));
    check("wk_0000000000000000000000000C:1", Wanted::Worker, Ok(at(12, 1, Method::WorkerPane)));
    check(".:1", Wanted::Worker, Ok(at(12, 1, Method::WorkerPane)));
    let closed = "worker b/edit has no pane 2: that one is closed, and its number is not given again";
    check("edit:2", Wanted::Worker, Err(closed));
    check("edit:7", Wanted::Worker, Err("worker b/edit has no pane 7: there is 0, 1"));
    let mut native = snapshot();
    native.panes.clear();
    let only = "worker a/a has no pane 1: its terminal is not in tmux, and is its only one, 0";
    check_in(&native, "a:1", Wanted::Worker, Use::Acting, Err(only));
    check_in(&native, "a:0", Wanted::Worker, Use::Acting, Ok(at(11, 0, Method::WorkerPane)));
    check("edit:", Wanted::Worker, Err("there is no worker \"edit:\" in this repository"));
    check(
        "edit:99999999999",
        Wanted::Worker,
        Err("there is no worker \"edit:99999999999\" in this repository"),
    );
}

#[test]
fn names_of_workers_and_lanes() {
    check("b/test", Wanted::Worker, Ok(at(13, 0, Method::LaneWorker)));
    check("a/", Wanted::Worker, Err("there is no worker \"a/\" in this repository"));
    check("a", Wanted::Worker, Ok(at(11, 0, Method::Worker)));
    check("a", Wanted::Lane, Ok(lane_at(1, Method::Lane)));
    check("a", Wanted::Either, Ok(at(11, 0, Method::Worker)));
    check("edit", Wanted::Worker, Ok(at(12, 0, Method::Worker)));
    check("b", Wanted::Either, Ok(lane_at(2, Method::Lane)));
    check("b", Wanted::Worker, Err("\"b\" can mean b/edit, b/test"));
    check("empty", Wanted::Worker, Err("lane empty has no worker"));
    check("gone", Wanted::Lane, Err("there is no lane \"gone\" in this repository"));
    check("", Wanted::Lane, Err("there is no lane \"\" in this repository"));
}

#[test]
fn sessions_and_windows_by_their_whole_names_only() {
    check("dev:edit", Wanted::Worker, Ok(at(12, 0, Method::SessionWindow)));
    check("dev:edit.1", Wanted::Worker, Ok(at(12, 1, Method::SessionWindow)));
    check("dev:v1.2: a b", Wanted::Worker, Ok(at(13, 0, Method::SessionWindow)));
    check("other:v1.2: a b.0", Wanted::Worker, Ok(at(13, 0, Method::SessionWindow)));
    check("other", Wanted::Worker, Ok(at(13, 0, Method::Session)));
    check("shared", Wanted::Worker, Err("\"shared\" can mean a/a, bd-421/bd-421"));
    for part in ["dev:edi", "de:edit", "dev:", ":edit", "de", "dev:edit.9", "=dev:edit", "dev:*"] {
        let refused = resolve(&snapshot(), part, Wanted::Worker, Use::Acting);
        assert!(matches!(refused, Err(TargetError::NotFound { .. })), "{part}: {refused:?}");
    }
}

#[test]
fn a_name_that_is_gone_never_means_one_that_begins_so() {
    let run = snapshot().workers[6].run.unwrap();
    let gone = format!("worker \"bd-42\" has ended, and its lane is closed; its last run was {run}");
    check("bd-42", Wanted::Worker, Err(&gone));
    check_reading("bd-42", Ok(at(17, 0, Method::Former)));
    check("bd-4", Wanted::Worker, Err("there is no worker \"bd-4\" in this repository"));
    check("edi", Wanted::Worker, Err("there is no worker \"edi\" in this repository"));
}

#[test]
fn who_only_reads_may_type_the_beginning_of_one_name() {
    check_reading("bd-4", Ok(at(18, 0, Method::Prefix)));
    check_reading("edi", Ok(at(12, 0, Method::Prefix)));
    check_reading("e", Err("\"e\" can mean edit, empty"));
    check_reading("", Err("there is no worker \"\" in this repository"));
    check_reading("z", Err("there is no worker \"z\" in this repository"));
}

#[test]
fn a_miss_names_the_closest() {
    let Err(TargetError::NotFound { closest, .. }) =
        resolve(&snapshot(), "tset", Wanted::Worker, Use::Acting)
    else {
        panic!("it should not be found")
    };
    assert_eq!(closest[0], "test");
    assert_eq!((distance("test", "test"), distance("", "ab"), distance("kitten", "sitting")), (0, 2, 3));
}
