//! A start is proven or names what is wrong.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use laneway_wire::message::{ResourceLimit, StartStage};
use laneway_wire::record::{self, RecordState};
use laneway_wire::{ByteVec, SOCKET_NAME, mark};

use crate::support::{FailedRun, bare_holder, launch, script, start, try_start, try_start_in, wait_for_end};

fn fail(launch: laneway_wire::Launch) -> FailedRun {
    match try_start(launch) {
        Ok(run) => panic!("started: {:?}", run.started),
        Err(failed) => failed,
    }
}

#[track_caller]
fn check(launch: laneway_wire::Launch, stage: StartStage, errno: i32, says: &[&str]) {
    let FailedRun { folder, failure } = fail(launch);
    assert_eq!((failure.stage, failure.errno), (stage, errno), "{}", failure.message);
    for text in says {
        assert!(failure.message.contains(text), "{:?} does not say {text:?}", failure.message);
    }
    assert!(!folder.path().join(SOCKET_NAME).exists(), "the socket is left");
}

fn temporary() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target folder is writable")
}

#[test]
fn a_missing_program_is_named() {
    let says = ["no-such-program", "PATH"];
    check(launch(&["no-such-program"]), StartStage::ProgramMissing, libc::ENOENT, &says);
    let says = ["/no/such/program", "no such file"];
    check(launch(&["/no/such/program"]), StartStage::ProgramMissing, libc::ENOENT, &says);
}

#[test]
fn what_cannot_be_executed_is_told_from_what_is_missing() {
    let folder = temporary();
    let file = folder.path().join("not-executable");
    fs::write(&file, "#!/bin/sh\n").unwrap();
    let path = file.to_str().unwrap();
    check(launch(&[path]), StartStage::ProgramNotRunnable, libc::EACCES, &[path, "permission denied"]);
    let path = folder.path().to_str().unwrap();
    check(launch(&[path]), StartStage::ProgramNotRunnable, libc::EISDIR, &[path, "is a directory"]);
    let orphan = folder.path().join("no-interpreter");
    fs::write(&orphan, "#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(&orphan, fs::Permissions::from_mode(0o755)).unwrap();
    let path = orphan.to_str().unwrap();
    let failed = fail(launch(&[path]));
    assert_eq!(failed.failure.stage, StartStage::ProgramNotRunnable);
    assert!(failed.failure.message.contains("interpreter"), "{}", failed.failure.message);
    // The program was about to be executed, so the record knows it too.
    let record = record::read(&failed.folder.path().join("record")).unwrap();
    assert_eq!(record.state, RecordState::StartFailed(failed.failure));
}

#[test]
fn a_bad_working_directory_is_named() {
    let folder = temporary();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let in_folder = |path: &str| {
        let mut launch = launch(&["true"]);
        launch.cwd = ByteVec::from(path.as_bytes().to_vec());
        launch
    };
    check(in_folder("/no/such/folder"), StartStage::Cwd, libc::ENOENT, &["/no/such/folder"]);
    let path = file.to_str().unwrap();
    check(in_folder(path), StartStage::Cwd, libc::ENOTDIR, &[path, "not a directory"]);
}

#[test]
fn a_senseless_launch_is_refused() {
    check(launch(&[]), StartStage::Launch, 0, &["no program"]);
    check(launch(&["true", "a\0b"]), StartStage::Launch, 0, &["NUL"]);
}

#[test]
fn without_a_launch_nothing_is_made() {
    let (folder, mut holder, socket) = bare_holder();
    drop(socket);
    assert!(wait_for_end(&mut holder).success());
    let names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["holder.log"]);
}

#[test]
fn the_program_has_the_callers_surroundings_and_nothing_else() {
    let folder = temporary();
    let path = folder.path().to_str().unwrap().to_owned();
    // Compared byte for byte: the listing of descriptors has the one of `ls` itself.
    let mut launch = script(
        "pwd; umask; env | sort; ulimit -n; ls -l /proc/self/fd | sed -n 's/.* \\([0-9]* -> .*\\)/fd \\1/p'; \
         grep -E 'Sig(Blk|Ign)' /proc/self/status; echo finished",
    );
    launch.cwd = ByteVec::from(path.clone().into_bytes());
    launch.umask = 0o027;
    launch.limits = vec![ResourceLimit { which: libc::RLIMIT_NOFILE, soft: 99, hard: 100 }];
    let mut run = start(launch);
    assert_eq!(run.wait_for_exit().code, Some(0));
    let text = run.read(laneway_wire::message::Lines::All).lines.join("\n");
    assert!(text.contains(&path), "{text}");
    assert!(text.contains("0027"), "{text}");
    assert!(text.contains("LANEWAY_RUN=rn_01K0000000000000000000000A"), "{text}");
    assert!(!text.contains("CARGO"), "{text}");
    assert!(text.contains("\n99\n"), "{text}");
    let descriptors: Vec<_> = text.lines().filter(|line| line.starts_with("fd ")).collect();
    let terminals = descriptors.iter().filter(|line| line.contains("-> /dev/pts/")).count();
    let own = descriptors.iter().filter(|line| line.contains("/proc/")).count();
    // Standard output of `ls` is the pipe to `sed`.
    assert_eq!((terminals, own, descriptors.len()), (2, 1, 4), "{text}");
    for line in text.lines().filter(|line| line.starts_with("Sig")) {
        assert!(line.ends_with("0000000000000000"), "{line}");
    }
}

#[test]
fn the_program_leads_a_session_with_the_terminal_and_carries_the_mark() {
    let run = start(launch(&["sleep", "1000"]));
    let pid = run.started.program.pid;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let [parent, group, session, terminal] = [1, 2, 3, 4].map(|field| fields[field].parse::<u32>().unwrap());
    assert_eq!((parent, group, session), (run.holder_pid(), pid, pid));
    assert_ne!(terminal, 0);
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let locks = limits.lines().find(|line| line.starts_with("Max file locks")).unwrap();
    assert!(locks.contains(&mark::lock_limit("rn_01K0000000000000000000000A").to_string()), "{locks}");
    let record = record::read(&run.folder.path().join("record")).unwrap();
    let started_at_micros = run.started.at_micros;
    assert_eq!(record.state, RecordState::Running { program: run.started.program, started_at_micros });
    assert_eq!(record.holder.pid, run.holder_pid());
}

#[test]
fn the_holder_stands_apart_and_its_files_are_private() {
    let run = start(launch(&["sleep", "1000"]));
    let pid = run.holder_pid();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    assert_eq!((fields[3].parse(), fields[4]), (Ok(pid), "0"), "own session, no terminal");
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).unwrap().to_str(), Some("/"));
    for name in ["sock", "record"] {
        let mode = fs::metadata(run.folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600, "{name}");
    }
    let names = fs::read_dir(format!("/proc/{pid}/task")).unwrap().count();
    assert_eq!(names, 1, "one thread");
}

#[test]
fn a_run_whose_record_would_not_survive_a_reboot_is_refused() {
    if !fs::read_to_string("/proc/mounts").unwrap().contains(" /dev/shm tmpfs ") {
        return;
    }
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let FailedRun { folder, failure } = match try_start_in(folder, script("echo ran")) {
        Ok(run) => panic!("started: {:?}", run.started),
        Err(failed) => failed,
    };
    assert_eq!(failure.stage, StartStage::Record);
    assert!(failure.message.contains("memory filesystem"), "{}", failure.message);
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["holder.log"]);
}
