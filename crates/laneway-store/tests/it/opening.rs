//! Opening: a new database is private and whole, and one that cannot be used is refused untouched.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;

use laneway_core::attachment::User;
use laneway_core::command::Command;
use laneway_core::id::HostId;
use laneway_core::launch::TerminalSpec;
use laneway_core::pane::{PaneIdentity, PanePlace, TmuxServer};
use laneway_core::run::{Exit, RunState};
use laneway_core::supervise::{RestartPolicy, Supervision};
use laneway_core::time::Timestamp;
use laneway_store::{NewHost, OpenError, Store, SubmitError, WorkersOf, glance};
use ulid::Ulid;

use crate::support::*;

type Files = BTreeMap<String, Vec<u8>>;

/// Every file of a folder with what is in it; not the index of the log, which is only a cache of it.
fn files(folder: &Path) -> Files {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let read =
        entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()));
    read.filter(|(name, _)| !name.ends_with("-shm")).collect()
}

fn refused(path: &Path) -> OpenError {
    match Store::open(path, NewHost(HOST), clock) {
        Ok(_) => panic!("it was opened"),
        Err(error) => error,
    }
}

/// Opens what `spoil` made of a database as a crash leaves it, and sees that it was left alone.
fn refused_untouched(spoil: impl FnOnce(&Path)) -> OpenError {
    let (_original, folder) = as_after_a_crash();
    let path = database(&folder);
    spoil(&path);
    let before = files(folder.path());
    let error = refused(&path);
    assert!(files(folder.path()) == before, "the files were changed: {error}");
    error
}

/// A copy of a database in use is a database whose process was killed: log and all.
fn as_after_a_crash() -> (tempfile::TempDir, tempfile::TempDir) {
    let (original, store) = store();
    create_lanes(&store, 1..=100);
    // Half of it in the file, half of it in the log.
    another(&database(&original)).query_row("PRAGMA wal_checkpoint", [], |_| Ok(())).unwrap();
    create_lanes(&store, 101..=200);
    let copied = folder();
    for (name, bytes) in files(original.path()) {
        fs::write(copied.path().join(name), bytes).unwrap();
    }
    close(&store);
    (original, copied)
}

#[test]
fn a_new_database_is_private_whole_and_alone_in_its_folder() {
    let outside = folder();
    let folder = outside.path().join("state").join("laneway");
    let store = open(&folder.join("laneway.db"));
    done(&store, Command::RegisterWorkspace(workspace()));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(folder.parent().unwrap())), (0o700, 0o700));
    let names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    for name in names {
        assert_eq!(mode(&name), 0o600, "{}", name.display());
    }
    close(&store);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "a clean end leaves the database alone");
}

#[test]
fn of_many_that_open_a_new_database_at_once_all_get_the_same() {
    let folder = folder();
    let path = database(&folder);
    let hosts: Vec<HostId> = thread::scope(|scope| {
        let open = |n| Store::open(&path, NewHost(HostId::from_ulid(Ulid(n))), clock).unwrap();
        let threads: Vec<_> = (0..8).map(|n| scope.spawn(move || open(n))).collect();
        let stores: Vec<Store> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        stores.iter().map(Store::host).collect()
    });
    assert!(hosts.iter().all(|host| *host == hosts[0]), "{hosts:?}");
}

#[test]
fn a_sound_database_opens_after_a_crash_with_all_that_was_answered() {
    let (_original, folder) = as_after_a_crash();
    let store = open(&database(&folder));
    assert_eq!((store.last_seq().unwrap(), store.lanes(None, true).unwrap().len()), (201, 200));
}

#[test]
fn what_is_not_a_database_is_refused_untouched() {
    let junk: Vec<u8> = (0..20_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for bytes in [&junk[..], b"", b"hello", &junk[..50]] {
        let error = refused_untouched(|path| fs::write(path, bytes).unwrap());
        assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
    }
}

#[test]
fn the_database_of_another_program_is_refused_untouched() {
    for mark in [0, 77] {
        let folder = folder();
        let path = database(&folder);
        let other = another(&path);
        other.pragma_update(None, "application_id", mark).unwrap();
        other.execute_batch("CREATE TABLE theirs (a); INSERT INTO theirs VALUES (1)").unwrap();
        drop(other);
        let before = files(folder.path());
        let error = refused(&path);
        assert!(
            matches!(error, OpenError::NotOurs { application_id, .. } if application_id == mark),
            "{error}"
        );
        assert!(files(folder.path()) == before);
    }
}

#[test]
fn a_damaged_database_is_refused_untouched() {
    let mut errors = Vec::new();
    // Cut off in the middle, and at the end of the first page.
    for pages in [10, 1] {
        errors.push(refused_untouched(|path| {
            let bytes = fs::read(path).unwrap();
            assert!(bytes.len() > 12 * 4096, "{} bytes", bytes.len());
            fs::write(path, &bytes[..pages * 4096]).unwrap();
            // The log holds later versions of many pages, which would make up for it.
            fs::remove_file(path.with_extension("db-wal")).unwrap();
        }));
    }
    // Some bytes of every page but the first turned over.
    errors.push(refused_untouched(|path| {
        let mut bytes = fs::read(path).unwrap();
        for page in bytes.chunks_mut(4096).skip(1) {
            page[..16].iter_mut().for_each(|byte| *byte ^= 0x5a);
        }
        fs::write(path, bytes).unwrap();
        fs::remove_file(path.with_extension("db-wal")).unwrap();
    }));
    for error in errors {
        assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
        assert!(error.to_string().contains("is damaged"), "{error}");
    }
}

#[test]
fn damage_where_opening_does_not_look_by_itself_is_found_after_a_crash() {
    let error = refused_untouched(|path| {
        let other = another(path);
        let sql = "SELECT rootpage FROM sqlite_schema WHERE name = 'events'";
        let page: u32 = other.query_row(sql, [], |row| row.get(0)).unwrap();
        other.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        drop(other);
        let mut bytes = fs::read(path).unwrap();
        bytes[(page as usize - 1) * 4096..][..64].fill(0xff);
        fs::write(path, bytes).unwrap();
    });
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
}

#[test]
fn a_database_is_marked_as_in_use_until_it_is_ended() {
    let (folder, store) = store();
    let ended_cleanly = || {
        let sql = "SELECT ended_cleanly FROM meta";
        another(&database(&folder)).query_row(sql, [], |row| row.get::<_, bool>(0)).unwrap()
    };
    assert!(!ended_cleanly());
    close(&store);
    assert!(ended_cleanly());
}

#[test]
fn a_log_without_its_database_is_not_taken_for_a_new_one() {
    let error = refused_untouched(|path| fs::remove_file(path).unwrap());
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
}

#[test]
fn a_newer_database_is_refused_untouched() {
    let error = refused_untouched(|path| {
        let other = another(path);
        other.pragma_update(None, "user_version", 999).unwrap();
        // As it stands while the newer one has it open: the version is in the log only.
        let log = fs::read(path.with_extension("db-wal")).unwrap();
        drop(other);
        fs::write(path.with_extension("db-wal"), log).unwrap();
    });
    assert!(matches!(error, OpenError::Newer { found: 999, known: 4, .. }), "{error:?}");
}

#[test]
fn a_locked_database_is_said_to_be_locked() {
    let (folder, store) = store();
    let path = database(&folder);
    let other = another(&path);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused_here = submit(&store, create_lane(1));
    assert!(matches!(refused_here, Err(SubmitError::Locked { .. })), "{refused_here:?}");
    assert_eq!(store.lanes(None, true).unwrap(), [], "readers are not locked out");
    other.execute_batch("COMMIT").unwrap();
    done(&store, create_lane(1));
    close(&store);

    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(matches!(refused(&path), OpenError::Locked { .. }));
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(open(&path).last_seq().unwrap(), 2);
}

#[test]
fn a_place_that_cannot_hold_a_database_is_named() {
    let folder = folder();
    let in_a_file = folder.path().join("file").join("laneway.db");
    fs::write(folder.path().join("file"), "").unwrap();
    assert!(matches!(refused(&in_a_file), OpenError::File { .. }));
    assert!(matches!(refused(folder.path()), OpenError::File { path, .. } if path == folder.path()));
}

#[test]
fn a_glance_tells_how_a_database_is_and_leaves_everything_as_it_is() {
    let empty = folder();
    assert_eq!(glance(&database(&empty)).unwrap(), None);
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0);
    let (in_use, store) = store();
    create_lanes(&store, 1..=10);
    let before = files(in_use.path());
    let seen = glance(&database(&in_use)).unwrap().unwrap();
    assert!(seen.n_log_bytes > 0 && seen.version <= seen.known_version, "{seen:?}");
    assert!(files(in_use.path()) == before);
    close(&store);
    let ended = glance(&database(&in_use)).unwrap().unwrap();
    assert_eq!((ended.version, ended.n_log_bytes), (ended.known_version, 0));
    assert!(ended.n_bytes > 0);
    let names: Vec<_> = files(in_use.path()).into_keys().collect();
    assert_eq!(names.len(), 1, "nothing was made beside it: {names:?}");

    let path = database(&in_use);
    another(&path).pragma_update(None, "user_version", 9_999).unwrap();
    assert!(matches!(glance(&path), Err(OpenError::Newer { found: 9_999, .. })));
    another(&path).pragma_update(None, "application_id", 7).unwrap();
    assert!(matches!(glance(&path), Err(OpenError::NotOurs { application_id: 7, .. })));
    fs::write(&path, "nonsense").unwrap();
    assert!(matches!(glance(&path), Err(OpenError::Damaged { .. })));
}

#[test]
fn a_database_of_version_1_is_brought_up_to_date_with_all_that_is_in_it() {
    let folder = folder();
    let path = database(&folder);
    let (host, id) = (HOST.to_string(), |prefix: &str| format!("{prefix}_{}", Ulid(7)));
    let (workspace, lane, worker) = (id("ws"), id("ln"), id("wk"));
    let old = another(&path);
    old.pragma_update(None, "application_id", i32::from_be_bytes(*b"LANE")).unwrap();
    old.pragma_update(None, "journal_mode", "wal").unwrap();
    old.execute_batch(include_str!("../../src/schema/001_start.sql")).unwrap();
    old.execute_batch(&format!(
        "PRAGMA user_version = 1;
         INSERT INTO hosts VALUES ('{host}', 0);
         INSERT INTO meta VALUES (1, '{host}', 1);
         INSERT INTO workspaces VALUES ('{workspace}', '{host}', x'2f', x'2f', NULL, NULL, 1);
         INSERT INTO lanes VALUES ('{lane}', '{host}', '{workspace}', 1, 'old', 'open', 0, NULL, 'lane/old', 1, 0, 'main',
             'c0ffee', x'2f6f6c64', 0, 1, NULL, 0, 0, 0, NULL);
         INSERT INTO workers VALUES ('{worker}', '{workspace}', '{lane}', 'old', 'running', 1);"
    ))
    .unwrap();
    drop(old);
    fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    let store = Store::open(&path, NewHost(HOST), clock).unwrap();
    let lanes = store.lanes(None, false).unwrap();
    assert_eq!((lanes.len(), lanes[0].name.as_str()), (1, "old"));
    let workers = store.workers(WorkersOf::Everywhere).unwrap();
    let worker = &workers[0].worker;
    assert_eq!((workers.len(), worker.restart, worker.done_codes.len()), (1, RestartPolicy::Never, 0));
    assert_eq!(worker.supervision, Supervision::default());
    close(&store);
    let version: i32 = another(&path).query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(version, 4);
}

#[test]
fn a_database_of_version_2_keeps_its_runs_and_takes_panes() {
    let folder = folder();
    let path = database(&folder);
    let (host, id) = (HOST.to_string(), |prefix: &str| format!("{prefix}_{}", Ulid(7)));
    let (workspace, lane, worker, run) = (id("ws"), id("ln"), id("wk"), id("rn"));
    let old = another(&path);
    old.pragma_update(None, "application_id", i32::from_be_bytes(*b"LANE")).unwrap();
    old.pragma_update(None, "journal_mode", "wal").unwrap();
    old.execute_batch(include_str!("../../src/schema/001_start.sql")).unwrap();
    old.execute_batch(include_str!("../../src/schema/002_supervision.sql")).unwrap();
    old.execute_batch(&format!(
        "PRAGMA user_version = 2;
         INSERT INTO hosts VALUES ('{host}', 0);
         INSERT INTO meta VALUES (1, '{host}', 1);
         INSERT INTO workspaces VALUES ('{workspace}', '{host}', x'2f', x'2f', NULL, NULL, 1);
         INSERT INTO lanes (id, host, workspace, epoch, name, lifecycle, close_requested, branch, branch_ours, adopted,
             base_ref, base_commit, path, shared, created_at, close_discard, close_merge, close_keep_branch)
             VALUES ('{lane}', '{host}', '{workspace}', 1, 'old', 'open', 0, 'lane/old', 1, 0, 'main', 'c0ffee',
             x'2f6f6c64', 0, 1, 0, 0, 0);
         INSERT INTO workers (id, workspace, lane, name, desired, created_at)
             VALUES ('{worker}', '{workspace}', '{lane}', 'old', 'running', 1);
         INSERT INTO specs VALUES ('{worker}', 1, '[\"sh\"]', x'2f', 'env', 'pty', 80, 24, 0);
         INSERT INTO runs VALUES ('{run}', '{worker}', '{lane}', 1, 1, 'running', 42, 7, 'boot', NULL, NULL, NULL, NULL,
             1, 2, NULL);"
    ))
    .unwrap();
    drop(old);
    fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    let store = Store::open(&path, NewHost(HOST), clock).unwrap();
    let worker = store.workers(WorkersOf::Everywhere).unwrap().remove(0);
    let latest = worker.latest.as_ref().unwrap();
    assert_eq!((latest.number, latest.state.process().unwrap().pid), (1, 42));
    assert_eq!(worker.spec.unwrap().terminal, TerminalSpec::Pty { columns: 80, rows: 24 });
    assert_eq!((worker.worker.parent, worker.panes), (None, vec![]));
    assert_eq!(store.live_runs().unwrap().len(), 1);
    let (worker, run) = (worker.worker.id, latest.id);
    done(&store, Command::RecordPane { worker, run, pane: pane("%0") });
    done(&store, Command::AddPane { worker, pane: pane("%1") });
    let (server, pane_id) = (pane("%1").server, "%1".to_owned());
    done(&store, Command::RecordPaneGone { worker, server, pane_id, tag: pane("%1").tag });
    let panes = store.panes_of_worker(worker).unwrap();
    assert_eq!(
        panes.iter().map(|pane| (pane.number, pane.gone)).collect::<Vec<_>>(),
        [(0, false), (1, true)]
    );
    let pacing = laneway_core::supervise::Pacing::default();
    let at = laneway_core::time::Timestamp(9);
    done(&store, Command::RecordExit { run, exit: Exit::ClosedByHand, at, pacing });
    assert_eq!(store.live_runs().unwrap(), []);
    close(&store);
    let db = another(&path);
    let version: i32 = db.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(version, 4);
    db.pragma_update(None, "foreign_keys", true).unwrap();
    let orphan = "INSERT INTO runs (id, worker, lane, number, spec, state, created_at)
                  VALUES ('rn_x', 'wk_none', 'ln_none', 1, 1, 'starting', 1)";
    assert!(db.execute(orphan, []).is_err(), "the tables that were made anew still refer to one another");
}

fn pane(id: &str) -> PaneIdentity {
    PaneIdentity {
        server: TmuxServer { socket: "/tmp/s".into(), pid: 1, start_time: 2, boot_id: "boot".to_owned() },
        place: PanePlace {
            session_id: "$0".to_owned(),
            session: "dev".to_owned(),
            window_id: None,
            window_name: "old".to_owned(),
        },
        pane_id: id.to_owned(),
        pane_pid: 3,
        tag: "rn".to_owned(),
    }
}

#[test]
fn a_database_of_version_3_keeps_its_workers_and_takes_instances() {
    let folder = folder();
    let path = database(&folder);
    let (host, id) = (HOST.to_string(), |prefix: &str| format!("{prefix}_{}", Ulid(7)));
    let (workspace, lane, worker, run) = (id("ws"), id("ln"), id("wk"), id("rn"));
    let old = another(&path);
    old.pragma_update(None, "application_id", i32::from_be_bytes(*b"LANE")).unwrap();
    old.pragma_update(None, "journal_mode", "wal").unwrap();
    old.execute_batch(include_str!("../../src/schema/001_start.sql")).unwrap();
    old.execute_batch(include_str!("../../src/schema/002_supervision.sql")).unwrap();
    old.execute_batch(include_str!("../../src/schema/003_panes.sql")).unwrap();
    old.execute_batch(&format!(
        "PRAGMA user_version = 3;
         INSERT INTO hosts VALUES ('{host}', 0);
         INSERT INTO meta VALUES (1, '{host}', 1);
         INSERT INTO workspaces VALUES ('{workspace}', '{host}', x'2f', x'2f', NULL, NULL, 1);
         INSERT INTO lanes (id, host, workspace, epoch, name, lifecycle, close_requested, branch, branch_ours, adopted,
             base_ref, base_commit, path, shared, created_at, close_discard, close_merge, close_keep_branch)
             VALUES ('{lane}', '{host}', '{workspace}', 1, 'old', 'open', 0, 'lane/old', 1, 0, 'main', 'c0ffee',
             x'2f6f6c64', 0, 1, 0, 0, 0);
         INSERT INTO workers (id, workspace, lane, name, desired, created_at, channel, start_message)
             VALUES ('{worker}', '{workspace}', '{lane}', 'old', 'running', 1, 'jsonl', '{{\"mission\":\"x\"}}');
         INSERT INTO specs (worker, number, argv, cwd, environment, terminal, record)
             VALUES ('{worker}', 1, '[\"sh\"]', x'2f', 'env', 'pipes', 0);
         INSERT INTO runs (id, worker, lane, number, spec, state, pid, start_time, boot_id, created_at, started_at,
             channel_taken) VALUES ('{run}', '{worker}', '{lane}', 1, 1, 'running', 42, 7, 'boot', 1, 2, 9);"
    ))
    .unwrap();
    drop(old);
    fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    let store = Store::open(&path, NewHost(HOST), clock).unwrap();
    let row = store.workers(WorkersOf::Everywhere).unwrap().remove(0);
    assert_eq!(row.worker.start_message.unwrap()["mission"], "x");
    let latest = row.latest.unwrap();
    assert_eq!((latest.number, latest.state.process().unwrap().pid), (1, 42));
    assert_eq!(latest.channel.unwrap().taken, 9);
    assert!(row.worker.limits.is_none());
    let (at, pacing) = (Timestamp(9), laneway_core::supervise::Pacing::default());
    let exit = Exit::Limit { limit: laneway_core::limits::LimitKind::Idle };
    done(&store, Command::RecordExit { run: latest.id, exit: exit.clone(), at, pacing });
    assert_eq!(store.run(latest.id).unwrap().unwrap().run.state, RunState::Exited(exit));
    close(&store);
    let db = another(&path);
    let version: i32 = db.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(version, 4);
    let spec: i64 = db.query_row("SELECT spec FROM workers", [], |row| row.get(0)).unwrap();
    assert_eq!(spec, 1, "the next run is started as the last one was");
    let orphan = "INSERT INTO instance_runs VALUES ('in_x', 1, 'ws_none', 'p', 'n', NULL, NULL, 0, 1, NULL, 'running', 0, 0)";
    db.pragma_update(None, "foreign_keys", true).unwrap();
    assert!(db.execute(orphan, []).is_err());
}

#[test]
fn leases_of_a_database_of_version_2_are_those_of_persons() {
    let folder = folder();
    let path = database(&folder);
    let (host, id) = (HOST.to_string(), |prefix: &str| format!("{prefix}_{}", Ulid(7)));
    let (workspace, lane, attachment) = (id("ws"), id("ln"), id("at"));
    let old = another(&path);
    old.pragma_update(None, "application_id", i32::from_be_bytes(*b"LANE")).unwrap();
    old.pragma_update(None, "journal_mode", "wal").unwrap();
    old.execute_batch(include_str!("../../src/schema/001_start.sql")).unwrap();
    old.execute_batch(include_str!("../../src/schema/002_supervision.sql")).unwrap();
    old.execute_batch(&format!(
        "PRAGMA user_version = 2;
         INSERT INTO hosts VALUES ('{host}', 0);
         INSERT INTO meta VALUES (1, '{host}', 1);
         INSERT INTO workspaces VALUES ('{workspace}', '{host}', x'2f', x'2f', NULL, NULL, 1);
         INSERT INTO lanes (id, host, workspace, epoch, name, lifecycle, close_requested, branch, branch_ours, adopted,
             base_ref, base_commit, path, shared, created_at, close_discard, close_merge, close_keep_branch, close_by)
             VALUES ('{lane}', '{host}', '{workspace}', 1, 'old', 'cleaning', 0, 'lane/old', 1, 0, 'main', 'c0ffee',
             x'2f6f6c64', 0, 1, 0, 0, 0, 'anna');
         INSERT INTO attachments VALUES ('{attachment}', '{lane}', 'anna', 'observer', 1, 2, 3);"
    ))
    .unwrap();
    drop(old);
    fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    let store = Store::open(&path, NewHost(HOST), clock).unwrap();
    let anna = User::person("anna".parse().unwrap());
    let known = store.attachments(None).unwrap();
    assert_eq!((known.len(), &known[0].user, known[0].until), (1, &anna, Timestamp(3)));
    assert_eq!(store.lanes(None, false).unwrap()[0].close_by.as_ref(), Some(&anna));
    close(&store);
}
