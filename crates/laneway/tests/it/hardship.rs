//! A machine that is short of something: disk, files, terminals, memory, processes. What cannot be done is said with
//! a word and a way out, nothing is lost or half made, and all of it works again when there is enough.
//!
//! What only root can make scarce is tried in a child with a namespace of its own; where the machine allows none, the
//! test says that and passes.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use laneway_testkit::process::{self, ends_within, finish};
use laneway_testkit::{LIMIT, TestEnvironment, screen};
use laneway_wire::client::Connection;
use laneway_wire::message::{FromHolder, ToHolder};
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::{Value, json};

use crate::elsewhere::remark;
use crate::environment;
use crate::support::{Pipe, Traces, all_lanes, events, fails, lane};

/// Where a child finds the folder that its parent has made for it.
pub(crate) const FOLDER: &str = "LANEWAY_HARDSHIP_FOLDER";

/// Runs a test, by its module and name, in a child with a mount namespace of its own, in which `setup` has succeeded;
/// `$FOLDER` in it is a folder of the child's own. Where that is not possible it is said.
pub(crate) fn in_namespace(test: &str, setup: &str) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let is_root = rustix::process::geteuid().is_root();
    // With a namespace of processes too: when the child is killed, so is all that it has started.
    let mut apart = vec!["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
    if !is_root {
        apart.extend(["--user", "--map-root-user"]);
    }
    let run = |script: &str| {
        #[expect(clippy::disallowed_methods, reason = "a namespace of its own takes a process of its own")]
        let mut command = Command::new("unshare");
        let child = ["--exact", test, "--ignored", "--nocapture"];
        command.args(&apart).args(["sh", "-c", script]).arg(std::env::current_exe().unwrap()).args(child);
        finish(command.env(FOLDER, folder.path()), b"")
    };
    let setup = format!("cd \"${FOLDER}\" && {{ {setup}; }}");
    let tried = run(&setup);
    if tried.code != 0 {
        let said = tried.err();
        let why = said.lines().last().unwrap_or_default();
        remark(&format!("not tested, as this machine does not allow it: {why}"));
        return;
    }
    let finished = run(&format!("{setup} && exec \"$0\" \"$@\""));
    assert!(finished.code == 0 && finished.out().contains("test result: ok. 1 passed"), "{finished}");
}

/// A world in the child's folder.
pub(crate) fn world_of_a_child(below: &str) -> TestEnvironment {
    let folder = Path::new(&std::env::var_os(FOLDER).expect("it is a child")).join(below);
    TestEnvironment::new(env!("CARGO_BIN_EXE_lane"), folder.to_str().unwrap())
}

/// A filesystem of its own on a file, with more room than a lane needs at least. `options`: of `mkfs.ext4`.
pub(crate) fn disk(options: &str) -> String {
    format!(
        "mkdir -p disk && truncate -s 800M image && mkfs.ext4 -q -m 0 {options} -F image && mount -o loop image disk"
    )
}

/// All the room of a disk, to the last byte.
pub(crate) struct Filler(PathBuf);

impl Filler {
    pub(crate) fn fill(disk: &Path) -> Self {
        let path = disk.join("filler");
        let room = statvfs(disk).unwrap();
        // Given to the file without being written, so that the disk below this one stays as it is.
        let mut file = File::create(&path).unwrap();
        let most = room.f_bavail * room.f_frsize;
        let taken = (0..64).any(|n| fallocate(&file, FallocateFlags::empty(), 0, most - (n << 20)).is_ok());
        assert!(taken, "nothing of the {most} bytes could be taken");
        std::io::Seek::seek(&mut file, std::io::SeekFrom::End(0)).unwrap();
        for chunk in [&[0; 4096][..], &[0; 1][..]] {
            while file.write_all(chunk).is_ok() {}
        }
        Self(path)
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

/// Waits until the holder has seen and recorded the end of its program.
#[track_caller]
fn wait_until_ended(run_folder: &Path) {
    let (mut connection, _) = Connection::open(run_folder, "test", LIMIT).unwrap();
    let watch = connection.send(&ToHolder::Watch).unwrap();
    let mut next = connection.answer_to(watch).unwrap();
    connection.set_read_limit(Some(LIMIT)).unwrap();
    loop {
        match next {
            FromHolder::Status(status) if status.exited.is_some() => return,
            FromHolder::Exited(_) => return,
            _ => next = connection.answer_to(0).unwrap(),
        }
    }
}

/// Asserts that `lane … --json` fails for a shortage of this name, with a way out.
#[track_caller]
fn is_short(world: &TestEnvironment, arguments: &[&str], exit: i32, slug: &str) -> Value {
    let error = fails(world, arguments, exit, slug);
    assert!(error["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{error}");
    error
}

/// Asserts that what runs in lane `a` is served as ever.
#[track_caller]
fn what_runs_is_served(world: &TestEnvironment, folder: &Path, said: &str) {
    assert_eq!(lane(world, "a")["status"], "running");
    assert_eq!(world.worker("a")["status"], "running");
    let _ = world.lane(&["send", "a", said, "--enter"]).ok();
    screen::wait_for_line(folder, &format!("heard {said}"));
    assert!(world.lane(&["read", "a"]).ok().out().contains(&format!("heard {said}")));
}

/// Asserts that lanes and programs can be made and ended again, and ends all.
#[track_caller]
fn all_works_again(world: &TestEnvironment) {
    let _ = world.lane(&["new", "again", "--", "fake-agent", "ready", "wait"]).ok();
    assert_eq!(world.worker("again")["status"], "running");
    assert_eq!(world.lane_with_input(&["exec", "again", "--", "cat"], b"through").ok().out(), "through");
    let names: Vec<String> = all_lanes(world)
        .iter()
        .filter(|lane| lane["closed_at"].is_null())
        .map(|lane| lane["name"].as_str().unwrap().to_owned())
        .collect();
    let close: Vec<&str> = ["close"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let _ = world.lane(&close).ok();
    let numbers: Vec<u64> = events(world).iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
}

#[test]
fn a_full_disk_is_told_and_nothing_is_lost_on_it() {
    in_namespace("hardship::child_on_a_full_disk", &disk(""));
}

#[test]
#[ignore = "the child with the full disk"]
fn child_on_a_full_disk() {
    let world = world_of_a_child("disk");
    let folder = world.start("a", &["fake-agent", "echo"]);
    let go = Pipe::new(&world, "go");
    let _ =
        world.lane(&["run", "a", "--name", "b", "--", "sh", "-c", "read x < \"$0\"; exit 7", go.text()]).ok();
    let (b, b_folder) = (world.worker("b"), world.run_folder("b"));
    let _ = world.lane(&["new", "clean"]).ok();
    let before = Traces::of(&world);
    let filler = Filler::fill(world.root());

    let _ = is_short(&world, &["new", "c"], 5, "no_room");
    let _ = is_short(&world, &["run", "a", "--", "fake-agent", "wait"], 1, "disk_full");
    let _ = is_short(&world, &["exec", "a", "--", "true"], 125, "disk_full");
    // Where a record still fits in what the database has, it is made; then nothing is.
    let id = b["id"].as_str().unwrap();
    let full = (0..500).map(|n| world.lane(&["rename", id, &format!("b{}", n % 2), "--json"]));
    let refused = full.into_iter().find(|finished| finished.code != 0).expect("the disk is full");
    assert_eq!(refused.clone().code(1).json()["error"]["code"], "disk_full", "{refused}");
    // What a close is about to do is written down before it is done: one that cannot be has not begun.
    let changing: [&[&str]; 4] =
        [&["stop", "a"], &["close", "a"], &["close", "clean"], &["close", "clean", "--discard"]];
    for command in changing {
        let error = is_short(&world, command, 1, "disk_full");
        assert!(error["message"].as_str().unwrap().contains("nothing was changed"), "{error}");
    }
    for name in ["a", "clean"] {
        assert!(lane(&world, name)["closed_at"].is_null());
    }
    what_runs_is_served(&world, &folder, "full");
    assert_eq!(Traces::of(&world), before);

    // What ends now is seen to have ended, by this daemon and by the next, and is recorded when there is room.
    let program = process::open(u32::try_from(b["pid"].as_u64().unwrap()).unwrap()).unwrap();
    go.go();
    assert!(ends_within(&program, LIMIT));
    wait_until_ended(&b_folder);
    for _ in 0..2 {
        world.kill_the_daemon();
        let ended = find(&world, &b["id"]);
        assert_eq!((&ended["exit"], &ended["pid"]), (&json!({"kind": "code", "code": 7}), &Value::Null));
        assert!(ended["ended_at"].is_string(), "{ended}");
        what_runs_is_served(&world, &folder, "on");
    }

    drop(filler);
    assert_eq!(world.wait_for_exit(b["id"].as_str().unwrap())["data"]["exit"]["code"], 7);
    let _ = world.lane(&["stop", "a"]).ok();
    assert_eq!(world.worker("a")["exit"]["kind"], "signal");
    all_works_again(&world);
    let ends = events(&world).iter().filter(|event| event["event"] == "worker.exited").count();
    assert_eq!(ends, 4, "each end is recorded once");
}

#[test]
fn a_lane_on_a_full_disk_is_not_closed_by_halves() {
    in_namespace("hardship::child_whose_repository_is_on_a_full_disk", &disk(""));
}

#[test]
#[ignore = "the child whose repository, and not its home, is on the full disk"]
fn child_whose_repository_is_on_a_full_disk() {
    let mut world = world_of_a_child("disk");
    world.home = Path::new(&std::env::var_os(FOLDER).unwrap()).join("home");
    let folder = world.start("a", &["fake-agent", "echo"]);
    let _ = world.lane(&["new", "clean"]).ok();
    let _ = world.lane(&["new", "dirty"]).ok();
    fs::write(world.worktree("dirty").join("work"), "done\n").unwrap();
    let before = Traces::of(&world).without(|_| false);
    let filler = Filler::fill(world.root());
    for command in [&["close", "clean"][..], &["close", "dirty", "--discard"], &["close", "a"]] {
        let error = is_short(&world, command, 1, "disk_full");
        assert!(error["message"].as_str().unwrap().contains("nothing was changed"), "{error}");
        assert_eq!(Traces::of(&world).without(|_| false), before);
    }
    let _ = fails(&world, &["close", "dirty"], 5, "would_lose_work");
    // No program was ended for a close that cannot be.
    what_runs_is_served(&world, &folder, "on");
    assert_eq!(fs::read_to_string(world.worktree("dirty").join("work")).unwrap(), "done\n");
    drop(filler);
    let _ = world.lane(&["close", "dirty", "--discard"]).ok();
    let _ = world.lane(&["restore", "dirty"]).ok();
    assert_eq!(fs::read_to_string(world.worktree("dirty").join("work")).unwrap(), "done\n");
    fs::remove_file(world.worktree("dirty").join("work")).unwrap();
    all_works_again(&world);
}

/// A worker by its id.
#[track_caller]
fn find(world: &TestEnvironment, id: &Value) -> Value {
    let workers = world.json(&["ps", "--all"]);
    let found = workers["workers"].as_array().unwrap().iter().find(|worker| worker["id"] == *id).cloned();
    found.unwrap_or_else(|| panic!("there is no {id} in {workers}"))
}

#[test]
fn a_lane_that_the_disk_has_no_room_for_is_undone() {
    in_namespace("hardship::child_on_a_disk_for_few_files", &disk("-N 2000"));
}

#[test]
#[ignore = "the child with a disk for few files"]
fn child_on_a_disk_for_few_files() {
    let world = world_of_a_child("disk");
    for n in 0..200 {
        fs::write(world.repository.join(format!("file{n}")), b"the same").unwrap();
    }
    world.git(&["add", "."]);
    world.git(&["commit", "--quiet", "--message", "many files"]);
    let folder = world.start("a", &["fake-agent", "echo"]);
    let before = Traces::of(&world);
    // Room there is, but not for as many files.
    let fillers = world.root().join("fillers");
    fs::create_dir(&fillers).unwrap();
    let n_left = statvfs(world.root()).unwrap().f_ffree;
    for n in 100..n_left {
        File::create(fillers.join(n.to_string())).unwrap();
    }
    let error = is_short(&world, &["new", "c", "--", "fake-agent", "wait"], 1, "disk_full");
    assert!(error["message"].as_str().unwrap().to_lowercase().contains("no space left"), "{error}");
    assert_eq!(Traces::of(&world), before);
    what_runs_is_served(&world, &folder, "full");
    fs::remove_dir_all(&fillers).unwrap();
    assert_eq!(world.lane(&["new", "c"]).ok().code, 0);
    assert_eq!(world.git_in(&world.worktree("c"), &["status", "--porcelain"]), "");
    all_works_again(&world);
}

/// How much a process of this test may have; None: as much as this one.
pub(crate) fn limit(pid: u32, resource: Resource, current: Option<u64>) {
    let maximum = getrlimit(resource).maximum;
    let limit = Rlimit { current: current.or(maximum), maximum };
    prlimit(Pid::from_raw(pid.cast_signed()), resource, limit).unwrap();
}

#[test]
fn an_error_of_the_disk_leaves_the_outcome_open_and_is_got_over() {
    let world = environment();
    let folder = world.start("a", &["fake-agent", "echo"]);
    let go = Pipe::new(&world, "go");
    let _ =
        world.lane(&["run", "a", "--name", "b", "--", "sh", "-c", "read x < \"$0\"; exit 7", go.text()]).ok();
    let b_folder = world.run_folder("b");
    let id = world.worker("b")["id"].as_str().unwrap().to_owned();
    // The log of the database becomes longer than the other files, whose growth is not what is looked at.
    for n in 0..12 {
        let _ = world.lane(&["rename", &id, &format!("b{n}")]).ok();
    }
    let (daemon, log) = (world.daemon_pid(), world.home.join("laneway.db-wal"));
    limit(daemon, Resource::Fsize, Some(fs::metadata(&log).unwrap().len() + 10));
    let error = is_short(&world, &["rename", &id, "other"], 1, "outcome_unknown");
    assert!(error["hint"].as_str().unwrap().contains("lane ls"), "{error}");
    let error = is_short(&world, &["stop", "a"], 1, "outcome_unknown");
    assert!(error["message"].as_str().unwrap().contains("not known"), "{error}");
    what_runs_is_served(&world, &folder, "broken");
    go.go();
    wait_until_ended(&b_folder);
    limit(daemon, Resource::Fsize, None);
    let _ = world.lane(&["rename", "a/a", "c"]).ok();
    assert_eq!(world.wait_for_exit(&id)["data"]["exit"]["code"], 7);
    assert_eq!(world.worker("c")["status"], "running");
    assert_eq!(world.daemon_pid(), daemon, "it went on");
    all_works_again(&world);
}

/// What the daemon keeps free of descriptors for requests, git and its database when it is asked to start something.
const KEPT_FREE: u64 = 32;

/// The lowest number of a descriptor that a process has free: the one that it gets next.
fn lowest_free_descriptor(pid: u32) -> u64 {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let open: Vec<u64> =
        open.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect();
    (0..=open.len() as u64).find(|number| !open.contains(number)).unwrap()
}

#[test]
fn a_daemon_that_may_have_few_files_can_always_be_asked() {
    let world = environment();
    let folder = world.start("a", &["fake-agent", "echo"]);
    let daemon = world.daemon_pid();
    let run = |n: usize| {
        world.lane(&["run", "a", "--name", &format!("r{n}"), "--json", "--", "fake-agent", "wait"])
    };
    // Room for a few more.
    limit(daemon, Resource::Nofile, Some(lowest_free_descriptor(daemon) + KEPT_FREE + 8));
    let refused = (0..64).find_map(|n| Some(run(n)).filter(|finished| finished.code != 0)).unwrap();
    assert_eq!(refused.clone().code(1).json()["error"]["code"], "too_many_files", "{refused}");
    assert!(refused.json()["error"]["hint"].as_str().unwrap().contains("ulimit -n"), "{refused}");
    // For none at all, also when a descriptor or two of a request are just being closed.
    limit(daemon, Resource::Nofile, Some(lowest_free_descriptor(daemon) + KEPT_FREE - 8));
    let before = Traces::of(&world);
    for _ in 0..3 {
        let _ = is_short(&world, &["run", "a", "--", "fake-agent", "wait"], 1, "too_many_files");
        let _ = is_short(&world, &["exec", "a", "--", "true"], 125, "too_many_files");
        let error = is_short(&world, &["new", "b", "--", "fake-agent", "wait"], 1, "too_many_files");
        assert_eq!(Traces::of(&world), before, "{error} {:?}", all_lanes(&world));
        what_runs_is_served(&world, &folder, "few");
    }
    // A lane without a program needs none of them for longer than it takes.
    let _ = world.lane(&["new", "b"]).ok();
    let _ = world.lane(&["stop", "r0"]).ok();
    limit(daemon, Resource::Nofile, None);
    let _ = run(64).ok();
    assert_eq!(world.lane(&["exec", "b", "--", "echo", "again"]).ok().out(), "again\n");
    assert_eq!(world.daemon_pid(), daemon, "it went on");
    let _ = world.lane(&["stop", "r64"]).ok();
    all_works_again(&world);
}

#[test]
fn a_machine_without_terminals_is_said_to_be() {
    // Four terminals and no more, for this child and what it starts.
    let terminals = "mkdir -p pts world && mount -t devpts -o newinstance,max=4,ptmxmode=666 devpts pts && \
                     mount --bind pts /dev/pts && mount --bind pts/ptmx /dev/ptmx";
    in_namespace("hardship::child_with_few_terminals", terminals);
}

#[test]
#[ignore = "the child with few terminals"]
fn child_with_few_terminals() {
    let world = world_of_a_child("world");
    let folder = world.start("a", &["fake-agent", "echo"]);
    for n in 0..3 {
        let _ = world.lane(&["run", "a", "--name", &format!("r{n}"), "--", "fake-agent", "wait"]).ok();
    }
    let before = Traces::of(&world);
    let error = is_short(&world, &["run", "a", "--", "fake-agent", "wait"], 1, "no_terminals");
    assert!(error["message"].as_str().unwrap().contains("has none left"), "{error}");
    let _ = is_short(&world, &["new", "b", "--", "fake-agent", "wait"], 1, "no_terminals");
    assert_eq!(Traces::of(&world), before);
    assert_eq!(world.lane(&["exec", "a", "--", "echo", "pipes are no terminals"]).ok().err(), "");
    what_runs_is_served(&world, &folder, "none");
    let _ = world.lane(&["stop", "r0"]).ok();
    let _ = world.lane(&["run", "a", "--name", "r3", "--", "fake-agent", "wait"]).ok();
    let _ = world.lane(&["stop", "r3", "r1"]).ok();
    all_works_again(&world);
}

/// A folder with `lane` and what belongs beside it, in which the holder gets as much memory as a file says.
fn binaries_with_a_small_holder(folder: &Path) -> (PathBuf, PathBuf) {
    let lane = folder.join("lane");
    let built = Path::new(env!("CARGO_BIN_EXE_lane"));
    fs::copy(built, &lane).unwrap();
    fs::copy(built.with_file_name("fake-agent"), folder.join("fake-agent")).unwrap();
    let (limit, holder) = (folder.join("limit"), folder.join("lane-holder"));
    fs::write(&limit, "unlimited\n").unwrap();
    let script = format!(
        "#!/bin/sh\nulimit -v \"$(cat '{}')\"\nexec '{}' \"$@\"\n",
        limit.display(),
        built.with_file_name("lane-holder").display()
    );
    fs::write(&holder, script).unwrap();
    fs::set_permissions(&holder, fs::Permissions::from_mode(0o755)).unwrap();
    (lane, limit)
}

#[test]
fn without_memory_for_a_holder_a_start_fails_and_says_so() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (binary, limit) = binaries_with_a_small_holder(folder.path());
    let world = TestEnvironment::new(binary.to_str().unwrap(), env!("CARGO_TARGET_TMPDIR"));
    let run_folder = world.start("a", &["fake-agent", "echo"]);
    let before = Traces::of(&world);
    // KiB: less than the program itself, than its libraries, than it needs to begin. The last is enough.
    let (mut refused, mut has_run) = (Vec::new(), false);
    for kib in (0..9).map(|n| 500_u64 << n) {
        fs::write(&limit, format!("{kib}\n")).unwrap();
        let finished = world.lane(&["run", "a", "--name", "r", "--json", "--", "fake-agent", "wait"]);
        if finished.code == 0 {
            has_run = true;
            let _ = world.lane(&["stop", "r"]).ok();
            break;
        }
        let error = finished.clone().code(1).json()["error"].clone();
        assert!(
            ["no_memory", "start_failed"].map(Value::from).contains(&error["code"]),
            "{kib} KiB: {finished}"
        );
        assert!(error["message"].as_str().unwrap().contains("the holder"), "{kib} KiB: {finished}");
        assert!(error["hint"].is_string(), "{kib} KiB: {finished}");
        refused.push(format!("{kib}: {error}"));
        assert_eq!(Traces::of(&world), before, "{kib} KiB");
    }
    assert!(has_run && refused.iter().any(|error| error.contains("no_memory")), "{refused:#?}");
    what_runs_is_served(&world, &run_folder, "little");
    all_works_again(&world);
}

/// A control group that bounds the processes of those in it; gone with this.
struct FewProcesses(PathBuf);

impl FewProcesses {
    /// None where the machine has none to give.
    fn make() -> Option<Self> {
        let name = format!("laneway-test-{}", std::process::id());
        ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].into_iter().find_map(|root| {
            let folder = Path::new(root).join(&name);
            fs::create_dir(&folder).ok()?;
            let group = Self(folder);
            group.0.join("pids.max").exists().then_some(group)
        })
    }

    fn take(&self, pid: u32) {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).unwrap();
    }

    /// Leaves room for so many more than there are.
    fn leave(&self, n_more: u64) {
        let now: u64 = fs::read_to_string(self.0.join("pids.current")).unwrap().trim().parse().unwrap();
        fs::write(self.0.join("pids.max"), (now + n_more).to_string()).unwrap();
    }

    fn leave_any(&self) {
        fs::write(self.0.join("pids.max"), "max").unwrap();
    }
}

impl Drop for FewProcesses {
    fn drop(&mut self) {
        // Only an empty one goes; what is left in it is looked for by the world that it was for.
        drop(fs::remove_dir(&self.0));
    }
}

#[test]
fn without_processes_what_is_there_is_served_and_what_is_not_is_refused() {
    // A limit by user does not bind root, and would take a user of its own.
    let Some(group) = FewProcesses::make() else {
        remark("not tested: this machine gives no control group for processes");
        return;
    };
    let world = environment();
    let folder = world.start("a", &["fake-agent", "echo"]);
    let _ = world.lane(&["run", "a", "--name", "r", "--", "fake-agent", "wait"]).ok();
    group.take(world.daemon_pid());
    let before = Traces::of(&world);
    group.leave(0);
    for _ in 0..20 {
        what_runs_is_served(&world, &folder, "none");
    }
    let _ = is_short(&world, &["run", "a", "--", "fake-agent", "wait"], 1, "too_many_processes");
    let _ = is_short(&world, &["exec", "a", "--", "true"], 125, "too_many_processes");
    let _ = is_short(&world, &["new", "b"], 1, "too_many_processes");
    // One for the holder and none for its program.
    group.leave(1);
    let _ = is_short(&world, &["exec", "a", "--", "true"], 125, "too_many_processes");
    assert_eq!(Traces::of(&world), before);
    // A stop needs none.
    group.leave(0);
    let _ = world.lane(&["stop", "r"]).ok();
    group.leave_any();
    all_works_again(&world);
    let _ = world.lane(&["daemon", "stop"]).ok();
}
