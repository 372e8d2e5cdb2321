//! Disks that fail: full, and with an error at the last step of a commit.
//!
//! The full one is a small filesystem in memory that a child mounts in a namespace of its own; the
//! failing one is a limit on the size of files, which makes the write itself fail.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use laneway_core::event::Event;
use laneway_store::{OpenError, ReadError, Store, SubmitError};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::*;

const SMALL_DISK: &str =
    "mount -t tmpfs -o size=1m,mode=700 tmpfs \"$LANEWAY_STORE_TEST_FOLDER\" && exec \"$0\" \"$@\"";

#[track_caller]
fn passes(test: &str, before: &[&str]) {
    let folder = folder();
    let output = as_child(test, folder.path(), before).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let ran = said.contains("test result: ok. 1 passed");
    assert!(output.status.success() && ran, "{said}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_full_disk_is_told_can_be_read_and_is_recovered_from() {
    let namespace = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"];
    #[expect(
        clippy::disallowed_methods,
        reason = "this asks whether the machine lets a user have a namespace"
    )]
    let may = std::process::Command::new(namespace[0]).args(&namespace[1..]).arg("exit 0").status();
    if !may.is_ok_and(|status| status.success()) {
        writeln!(std::io::stderr(), "not tested: this machine lets nobody mount a small disk").unwrap();
        return;
    }
    let before: Vec<&str> = namespace.into_iter().chain([SMALL_DISK]).collect();
    passes("no_room::child_on_a_small_disk", &before);
}

#[test]
#[ignore = "the child with the small disk"]
fn child_on_a_small_disk() {
    let disk = folder_of_a_child();
    let store = open(&disk.join("laneway.db"));
    done(&store, laneway_core::command::Command::RegisterWorkspace(workspace()));
    for round in 0..2 {
        let filler = disk.join("filler");
        let mut file = File::create(&filler).unwrap();
        // To the last byte: in whole pages, then whatever still fits.
        for chunk in [&[0; 4096][..], &[0; 1][..]] {
            while file.write_all(chunk).is_ok() {}
        }
        let recorded = store.last_seq().unwrap();
        let mut n_fitting = 0;
        // What the log had room for fits; then nothing does, again and again.
        let mut n_refused = 0;
        for n in 1..=400 {
            match submit(&store, create_lane(round * 1_000 + n)) {
                Ok(_) if n_refused == 0 => n_fitting += 1,
                Err(SubmitError::DiskFull { .. }) => n_refused += 1,
                other => panic!("{n}: {other:?}"),
            }
        }
        assert!(n_refused > 3, "the disk was not full");
        assert_eq!(store.last_seq().unwrap(), recorded + n_fitting);
        assert_eq!(store.events_since(0, u32::MAX).unwrap().len() as u64, recorded + n_fitting);
        assert_eq!(store.lane(lane_id(round * 1_000 + 400)).unwrap(), None);
        // What was refused is not there after a crash either.
        let elsewhere = folder();
        for name in ["laneway.db", "laneway.db-wal"] {
            fs::copy(disk.join(name), elsewhere.path().join(name)).unwrap();
        }
        assert_eq!(open(&database(&elsewhere)).last_seq().unwrap(), recorded + n_fitting);

        drop(file);
        fs::remove_file(&filler).unwrap();
        assert_eq!(done(&store, create_lane(round * 1_000 + 500)).seq, recorded + n_fitting + 1);
    }
    close(&store);
    let store = open(&disk.join("laneway.db"));
    assert_eq!(store.events_since(0, u32::MAX).unwrap().len() as u64, store.last_seq().unwrap());
}

#[test]
fn an_error_at_commit_leaves_the_outcome_unknown_and_the_database_is_opened_again() {
    // The signal that comes with the limit would end the child.
    passes("no_room::child_with_a_failing_disk", &["sh", "-c", "trap '' XFSZ; exec \"$0\" \"$@\""]);
}

/// Files can grow by this much beyond the write-ahead log, and no more.
fn limit_files(log: &Path, beyond: u64) {
    let maximum = getrlimit(Resource::Fsize).maximum;
    let size = fs::metadata(log).unwrap().len();
    setrlimit(Resource::Fsize, Rlimit { current: Some(size + beyond), maximum }).unwrap();
}

fn unlimit_files() {
    let maximum = getrlimit(Resource::Fsize).maximum;
    setrlimit(Resource::Fsize, Rlimit { current: maximum, maximum }).unwrap();
}

#[track_caller]
fn outcome_is_unknown(store: &Store, lane: u32) {
    let answer = submit(store, create_lane(lane));
    assert!(matches!(answer, Err(SubmitError::OutcomeUnknown { source: Some(_) })), "{answer:?}");
}

#[test]
#[ignore = "the child with the failing disk"]
fn child_with_a_failing_disk() {
    let path = folder_of_a_child().join("laneway.db");
    let log = path.with_extension("db-wal");
    let store = open(&path);
    let mut live = store.subscribe();
    done(&store, laneway_core::command::Command::RegisterWorkspace(workspace()));
    // The log becomes longer than the other files, whose growth is not what is looked at.
    (1..=20).for_each(|n| drop(done(&store, create_lane(n))));
    (1..=21).for_each(|seq| assert_eq!(wait(live.recv()).unwrap().seq, seq));

    // Once with nothing of it in the log, once with its first page there.
    for (lane, beyond) in [(21, 10), (22, 5_000)] {
        limit_files(&log, beyond);
        outcome_is_unknown(&store, lane);
        outcome_is_unknown(&store, lane);
        assert_eq!(store.lane(lane_id(lane)).unwrap(), None, "the look after it says what is there");
        assert_eq!(store.last_seq().unwrap(), u64::from(lane));
        unlimit_files();
        assert_eq!(done(&store, create_lane(lane)).seq, u64::from(lane) + 1);
        assert_eq!(wait(live.recv()).unwrap().seq, u64::from(lane) + 1);
    }

    // Recorded although nobody was told, as an error after the last write leaves it.
    let sql = "UPDATE hosts SET last_seq = 24; \
               INSERT INTO events SELECT host, 24, at, name, data, workspace, lane, worker, run, \
               correlation, actor FROM events WHERE seq = 23";
    another(&path).execute_batch(sql).unwrap();
    limit_files(&log, 10);
    outcome_is_unknown(&store, 23);
    unlimit_files();
    assert_eq!(done(&store, create_lane(23)).seq, 25);
    for seq in [24, 25] {
        let event = wait(live.recv()).unwrap();
        assert_eq!(event.seq, seq);
        assert!(matches!(event.event, Event::LaneCreated { .. }));
    }

    // It cannot be opened again: everyone is told, until it can.
    let aside = path.with_extension("aside");
    limit_files(&log, 10);
    fs::rename(&path, &aside).unwrap();
    outcome_is_unknown(&store, 24);
    let answer = submit(&store, create_lane(24));
    assert!(matches!(answer, Err(SubmitError::Unavailable { .. })), "{answer:?}");
    let answer = store.lanes(None, true);
    assert!(
        matches!(&answer, Err(ReadError::Unavailable { source }) if matches!(**source, OpenError::File { .. }))
    );
    fs::rename(&aside, &path).unwrap();
    unlimit_files();
    assert_eq!(done(&store, create_lane(24)).seq, 26);
    assert_eq!(store.lanes(None, true).unwrap().len(), 24);
    close(&store);
    assert_eq!(open(&path).events_since(0, u32::MAX).unwrap().len(), 26);
}
