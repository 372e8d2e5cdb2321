//! A decision that cannot be written: nothing of it stays, and it takes no other with it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use laneway_core::command::Command;
use laneway_core::lane::Lifecycle;
use laneway_core::run::{Exit, RunState};
use laneway_store::{OpenError, ReadError, SubmitError};

use crate::support::*;

#[test]
fn a_row_that_is_not_what_was_decided_on_is_a_conflict_and_nothing_stays() {
    let (folder, store) = store();
    open_lane(&store, 1);
    let worker = new_worker(1, laneway_core::command::WorkerNaming::Task);
    done(&store, Command::RunWorker { lane: lane_id(1), worker });
    done(&store, create_lane(2));
    let seq = store.last_seq().unwrap();
    // Updates of these tables find no row from now on.
    let other = another(&database(&folder));
    for table in ["lanes", "runs"] {
        let sql =
            format!("CREATE TRIGGER no_{table} BEFORE UPDATE ON {table} BEGIN SELECT RAISE(IGNORE); END");
        other.execute_batch(&sql).unwrap();
    }
    let begin = Command::BeginProvisioning { lane: lane_id(2), epoch: 1 };
    let exit = ended(1, Exit::Lost, 1);
    // The stop changes the worker before it comes to the run: that is taken back as well.
    let stop = Command::StopWorker { worker: worker_id(1), grace_ms: 1 };
    for (command, table, id) in [
        (begin.clone(), "lanes", lane_id(2).to_string()),
        (exit.clone(), "runs", run_id(1).to_string()),
        (stop, "runs", run_id(1).to_string()),
    ] {
        match submit(&store, command) {
            Err(SubmitError::Conflict { table: in_table, id: of }) => assert_eq!((in_table, of), (table, id)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(store.last_seq().unwrap(), seq);
    assert_eq!(store.lane(lane_id(2)).unwrap().unwrap().lifecycle, Lifecycle::New);
    let worker = store.worker(worker_id(1)).unwrap().unwrap();
    assert_eq!(worker.worker.desired, laneway_core::worker::Desired::Running);
    assert_eq!(worker.latest.unwrap().state, RunState::Starting);

    other.execute_batch("DROP TRIGGER no_lanes; DROP TRIGGER no_runs").unwrap();
    done(&store, begin);
    assert_eq!(done(&store, exit).seq, seq + 2);
}

/// Lanes 1 to 60 at once, of which every tenth cannot be written: `fails` is what happens then.
fn every_tenth_fails(fails: &str) -> usize {
    let (folder, store) = store();
    let path = database(&folder);
    let sql = format!(
        "CREATE TABLE orphans (id PRIMARY KEY, parent REFERENCES orphans DEFERRABLE INITIALLY DEFERRED); \
         CREATE TRIGGER bad BEFORE INSERT ON events WHEN NEW.data LIKE '%/lanes/_0\"%' BEGIN {fails}; END"
    );
    another(&path).execute_batch(&sql).unwrap();
    let before = commits_in_the_log(&path);
    let answers = submit_together(&path, &store, (1..=60).map(create_lane).collect());
    let mut seq = 1;
    for (n, answer) in (1..=60).zip(answers) {
        if n % 10 == 0 {
            assert!(matches!(answer, Err(SubmitError::Database { .. })), "{n}: {answer:?}");
            assert_eq!(store.lane(lane_id(n)).unwrap(), None);
        } else {
            seq += 1;
            assert_eq!(answer.unwrap().seq, seq, "{n}");
            assert!(store.lane(lane_id(n)).unwrap().is_some(), "{n}");
        }
    }
    let recorded: Vec<u64> = store.events_since(0, 100).unwrap().iter().map(|event| event.seq).collect();
    assert_eq!(recorded, (1..=55).collect::<Vec<_>>());
    assert_eq!(store.last_seq().unwrap(), 55);
    commits_in_the_log(&path) - before
}

#[test]
fn a_decision_that_fails_in_a_batch_leaves_the_others_in_it() {
    let transactions = every_tenth_fails("SELECT RAISE(ABORT, 'bad')");
    assert!(transactions <= 2, "{transactions} transactions");
}

#[test]
fn a_decision_that_takes_the_transaction_with_it_has_the_others_decided_again() {
    let transactions = every_tenth_fails("SELECT RAISE(ROLLBACK, 'bad')");
    assert!(transactions > 2, "{transactions} transactions: they were not decided one by one");
}

#[test]
fn a_decision_that_is_found_wrong_at_the_commit_has_the_others_decided_again() {
    let transactions = every_tenth_fails("INSERT INTO orphans (parent) VALUES ('no such')");
    assert!(transactions > 2, "{transactions} transactions: they were not decided one by one");
}

#[test]
fn damage_that_shows_while_deciding_stops_writing_and_reading_until_it_is_mended() {
    let (folder, store) = store();
    let path = database(&folder);
    open_lane(&store, 1);
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name = 'workers'";
    let page: u64 = another(&path).query_row(sql, [], |row| row.get::<_, u32>(0)).unwrap().into();
    close(&store);
    // Opened again, nobody has read that page yet.
    let store = open(&path);
    let file = File::options().read(true).write(true).open(&path).unwrap();
    let mut sound = [0; 64];
    file.read_exact_at(&mut sound, (page - 1) * 4096).unwrap();
    file.write_all_at(&[0xff; 64], (page - 1) * 4096).unwrap();

    let stop = Command::StopWorker { worker: worker_id(1), grace_ms: 1 };
    let answer = submit(&store, stop.clone());
    assert!(matches!(answer, Err(SubmitError::Database { .. })), "{answer:?}");
    let (answer, answered) = std::sync::mpsc::channel();
    let reader = store.clone();
    std::thread::spawn(move || answer.send(reader.workspaces()));
    let answer = answered.recv_timeout(Duration::from_secs(30)).expect("who reads is told at once");
    let is_damaged = |source: &OpenError| matches!(source, OpenError::Damaged { .. });
    assert!(matches!(&answer, Err(ReadError::Unavailable { source }) if is_damaged(source)), "{answer:?}");
    let answer = submit(&store, create_lane(2));
    assert!(matches!(&answer, Err(SubmitError::Unavailable { source }) if is_damaged(source)), "{answer:?}");

    file.write_all_at(&sound, (page - 1) * 4096).unwrap();
    done(&store, create_lane(2));
    assert_eq!(store.workspaces().unwrap(), [workspace()]);
}
