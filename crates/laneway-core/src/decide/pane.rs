//! What is known of the panes of a worker. The program in one is a run's matter; this is where it can be seen.

use crate::command::PaneFacts;
use crate::decision::{Change, Decision};
use crate::event::{Event, Subject};
use crate::id::RunId;
use crate::pane::{PRIMARY, Pane, PaneIdentity, PanePlace, TmuxServer};
use crate::refusal::Refusal;

/// A run's program is started in this pane. A pane that was recorded before, of a run before, is forgotten; one of an
/// older run changes nothing.
pub(super) fn record(facts: &PaneFacts, run: RunId, pane: &PaneIdentity) -> Decision {
    if facts.latest.as_ref().is_none_or(|latest| latest.id != run) {
        return Decision::unchanged();
    }
    opened(facts, Pane { run: Some(run), ..new(facts, PRIMARY, pane) })
}

/// A further pane. Its number is one that no pane of this worker ever had.
pub(super) fn add(facts: &PaneFacts, pane: &PaneIdentity) -> Result<Decision, Refusal> {
    let Some(last) = facts.panes.iter().map(|pane| pane.number).max() else {
        return Err(Refusal::NotInTmux { worker: facts.worker.id });
    };
    if find(facts, &pane.server, &pane.pane_id).is_some() {
        return Ok(Decision::unchanged());
    }
    Ok(opened(facts, new(facts, last + 1, pane)))
}

fn new(facts: &PaneFacts, number: u32, identity: &PaneIdentity) -> Pane {
    Pane { worker: facts.worker.id, number, run: None, identity: identity.clone(), gone: false }
}

fn opened(facts: &PaneFacts, pane: Pane) -> Decision {
    if facts.panes.contains(&pane) {
        return Decision::unchanged();
    }
    let PaneIdentity { pane_id, place, .. } = pane.identity.clone();
    told(facts, Event::PaneOpened { number: pane.number, pane_id, at: place }, pane)
}

/// Somebody has moved it, or has renamed its window or session.
pub(super) fn moved(facts: &PaneFacts, server: &TmuxServer, pane_id: &str, to: &PanePlace) -> Decision {
    let Some(pane) = find(facts, server, pane_id).filter(|pane| pane.identity.place != *to) else {
        return Decision::unchanged();
    };
    let event = Event::PaneMoved {
        number: pane.number,
        pane_id: pane_id.to_owned(),
        from: pane.identity.place.clone(),
        to: to.clone(),
    };
    let identity = PaneIdentity { place: to.clone(), ..pane.identity.clone() };
    told(facts, event, Pane { identity, ..pane.clone() })
}

/// It is closed, as the one that had this tag. Its record stays, so that its number is not given again.
pub(super) fn gone(facts: &PaneFacts, server: &TmuxServer, pane_id: &str, tag: &str) -> Decision {
    let Some(pane) = find(facts, server, pane_id).filter(|pane| pane.identity.tag == tag) else {
        return Decision::unchanged();
    };
    let event = Event::PaneClosed { number: pane.number, pane_id: pane_id.to_owned() };
    told(facts, event, Pane { gone: true, ..pane.clone() })
}

fn find<'a>(facts: &'a PaneFacts, server: &TmuxServer, pane_id: &str) -> Option<&'a Pane> {
    facts.panes.iter().find(|pane| !pane.gone && pane.identity.is_pane(server, pane_id))
}

fn told(facts: &PaneFacts, event: Event, pane: Pane) -> Decision {
    let subject = Subject {
        workspace: Some(facts.worker.workspace),
        lane: Some(facts.worker.lane),
        worker: Some(facts.worker.id),
        run: pane.run,
    };
    Decision { changes: vec![Change::PutPane(pane)], events: vec![(subject, event)], ..Decision::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{LaneId, WorkerId, WorkspaceId};
    use crate::run::{Run, RunState};
    use crate::supervise::{RestartPolicy, Supervision};
    use crate::time::Timestamp;
    use crate::worker::{Desired, Worker};
    use ulid::Ulid;

    fn run(n: u32) -> Run {
        Run {
            id: RunId::from_ulid(Ulid(u128::from(n))),
            worker: WorkerId::from_ulid(Ulid(7)),
            number: n,
            spec: 1,
            state: RunState::Starting,
            created_at: Timestamp(0),
            started_at: None,
            ended_at: None,
            channel: None,
        }
    }

    fn facts() -> PaneFacts {
        let worker = Worker {
            id: WorkerId::from_ulid(Ulid(7)),
            workspace: WorkspaceId::from_ulid(Ulid(1)),
            lane: LaneId::from_ulid(Ulid(2)),
            name: None,
            desired: Desired::Running,
            restart: RestartPolicy::Never,
            done_codes: vec![],
            channel: None,
            start_message: None,
            limits: crate::limits::RunLimits::NONE,
            spec: 1,
            supervision: Supervision::default(),
            parent: None,
            created_at: Timestamp(0),
        };
        PaneFacts { worker, latest: Some(run(1)), panes: vec![] }
    }

    fn pane(server_pid: u32, pane_id: &str) -> PaneIdentity {
        PaneIdentity {
            server: TmuxServer {
                socket: "/tmp/s".into(),
                pid: server_pid,
                start_time: 5,
                boot_id: "b".into(),
            },
            place: place("work"),
            pane_id: pane_id.to_owned(),
            pane_pid: 99,
            tag: "rn".to_owned(),
        }
    }

    fn place(window: &str) -> PanePlace {
        PanePlace {
            session_id: "$0".to_owned(),
            session: "dev".to_owned(),
            window_id: Some("@1".to_owned()),
            window_name: window.to_owned(),
        }
    }

    fn take(facts: &mut PaneFacts, decision: &Decision) -> Option<Pane> {
        let [Change::PutPane(pane)] = decision.changes.as_slice() else {
            assert_eq!(*decision, Decision::unchanged());
            return None;
        };
        assert_eq!(decision.events.len(), 1);
        facts.panes.retain(|known| known.number != pane.number);
        facts.panes.push(pane.clone());
        Some(pane.clone())
    }

    #[test]
    fn a_number_is_never_given_to_another_pane() {
        let mut facts = facts();
        assert_eq!(add(&facts, &pane(1, "%1")), Err(Refusal::NotInTmux { worker: facts.worker.id }));
        let recorded = record(&facts, run(1).id, &pane(1, "%0"));
        assert_eq!(take(&mut facts, &recorded).unwrap().number, PRIMARY);
        for (id, number) in [("%1", 1), ("%2", 2)] {
            let added = add(&facts, &pane(1, id)).unwrap();
            assert_eq!(take(&mut facts, &added).unwrap().number, number);
            assert_eq!(add(&facts, &pane(1, id)), Ok(Decision::unchanged()));
        }
        let closed = gone(&facts, &pane(1, "%2").server, "%2", "rn");
        assert!(take(&mut facts, &closed).unwrap().gone);
        assert_eq!(gone(&facts, &pane(1, "%2").server, "%2", "rn"), Decision::unchanged());
        // tmux gives the id again after its server was started anew; the number stays taken.
        let added = add(&facts, &pane(2, "%2")).unwrap();
        assert_eq!(take(&mut facts, &added).unwrap().number, 3);
    }

    #[test]
    fn a_pane_of_the_same_id_on_another_server_is_another_pane() {
        let mut facts = facts();
        let recorded = record(&facts, run(1).id, &pane(1, "%0"));
        take(&mut facts, &recorded);
        let another = pane(2, "%0").server;
        assert_eq!(moved(&facts, &another, "%0", &place("build")), Decision::unchanged());
        assert_eq!(gone(&facts, &another, "%0", "rn"), Decision::unchanged());
        assert_eq!(gone(&facts, &pane(1, "%0").server, "%0", "rn_former"), Decision::unchanged());
        let renamed = moved(&facts, &pane(1, "%0").server, "%0", &place("build"));
        assert_eq!(take(&mut facts, &renamed).unwrap().identity.place.window_name, "build");
        assert_eq!(moved(&facts, &pane(1, "%0").server, "%0", &place("build")), Decision::unchanged());
    }

    #[test]
    fn the_pane_of_an_older_run_changes_nothing() {
        let mut facts = facts();
        facts.latest = Some(run(2));
        assert_eq!(record(&facts, run(1).id, &pane(1, "%0")), Decision::unchanged());
        let recorded = record(&facts, run(2).id, &pane(1, "%4"));
        assert_eq!(take(&mut facts, &recorded).unwrap().run, Some(run(2).id));
    }
}
