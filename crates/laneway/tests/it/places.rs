//! Homes on odd filesystems: one that cannot hold sockets, and one that is kept in memory only.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use laneway_testkit::confine::sockets_only_below;
use laneway_testkit::process::finish;
use laneway_testkit::{Finished, LIMIT, TestEnvironment, screen};
use laneway_wire::ToHolder;
use laneway_wire::client::Connection;
use laneway_wire::message::{Role, Size};

use crate::environment;
use crate::support::has_failed;

/// Shown by the test runner.
fn not_tested(why: &str) {
    let _ = writeln!(std::io::stderr().lock(), "not tested: {why}");
}

/// A world in which only its temp folder can hold sockets.
struct Socketless {
    world: TestEnvironment,
    temp: PathBuf,
}

impl Socketless {
    /// None where the kernel cannot do that; it is said.
    #[track_caller]
    fn new() -> Option<Self> {
        let world = environment();
        let temp = world.root().join("temp");
        fs::create_dir(&temp).unwrap();
        if sockets_only_below(&mut world.program("true"), &temp).is_err() {
            not_tested("this kernel has no Landlock");
            return None;
        }
        Some(Self { world, temp })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.world.lane_command(arguments);
        sockets_only_below(&mut command, &self.temp).unwrap();
        command.env("TMPDIR", &self.temp);
        command
    }

    #[track_caller]
    fn lane(&self, arguments: &[&str]) -> Finished {
        finish(&mut self.command(arguments), b"")
    }

    /// The folder that sockets are in.
    fn private(&self) -> PathBuf {
        self.temp.join(format!("laneway-{}", rustix::process::geteuid().as_raw()))
    }

    /// The sockets in it.
    #[track_caller]
    fn sockets(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.private()).unwrap().map(Result::unwrap);
        let sockets: Vec<_> =
            entries.inspect(|entry| assert!(entry.file_type().unwrap().is_socket())).collect();
        sockets.iter().map(fs::DirEntry::path).collect()
    }
}

#[track_caller]
fn told_in(pointer: &Path) -> PathBuf {
    PathBuf::from(fs::read_to_string(pointer).unwrap())
}

#[test]
fn a_home_that_cannot_hold_sockets_is_served_through_a_private_folder() {
    let Some(here) = Socketless::new() else { return };
    let world = &here.world;
    let _ = here.lane(&["new", "a", "--", "fake-agent", "echo"]).ok();
    assert!(!world.home.join("socket").exists());
    let of_daemon = told_in(&world.home.join("socket.at"));
    let run = world.run_folder("a");
    let of_run = told_in(&run.join("sock.at"));
    let mut sockets = here.sockets();
    sockets.sort();
    let mut told = vec![of_daemon.clone(), of_run];
    told.sort();
    assert_eq!(sockets, told);
    assert_eq!(fs::metadata(here.private()).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(&of_daemon).unwrap().permissions().mode() & 0o777, 0o600);
    let status = here.lane(&["daemon", "status", "--json"]).ok().json();
    assert_eq!(status["socket"], of_daemon.to_str().unwrap());

    // Whoever comes need not know of the temp folder: he finds it told.
    let _ = world.lane(&["send", "a", "you", "--enter"]).ok();
    screen::wait_for_line(&run, "heard you");
    let mut window = world.window(&["attach", "a"], 80, 24);
    window.wait_until_like(&run);
    window.press("again\r");
    window.wait_for_row("heard again");
    window.press("\x1c");
    window.wait_until_left_with(0);

    world.kill_the_daemon();
    let _ = here.lane(&["daemon", "start"]).ok();
    assert_eq!(
        told_in(&world.home.join("socket.at")),
        of_daemon,
        "a new daemon takes the place of the former"
    );
    assert_eq!(here.sockets().len(), 2);
    assert_eq!(world.worker("a")["status"], "running");
    let _ = world.lane(&["stop", "a", "--grace", "0"]).ok();
    let _ = world.lane(&["daemon", "stop"]).ok();
    assert_eq!(here.sockets(), [] as [PathBuf; 0]);
    assert!(!world.home.join("socket.at").exists());
}

#[test]
fn a_daemon_started_from_inside_a_run_there_outlives_that_run() {
    let Some(here) = Socketless::new() else { return };
    let _ = here.lane(&["new", "a", "--", "bash", "--norc"]).ok();
    let run = here.world.run_folder("a");
    let _ = here.lane(&["daemon", "stop"]).ok();
    let (mut typing, _) = Connection::open(&run, "test", LIMIT).unwrap();
    let size = Size { columns: 80, rows: 24 };
    typing.ask(&ToHolder::Attach { role: Role::Driver, size, since: None }).unwrap();
    typing.send_input(b"lane daemon start > said; echo rea''dy\r").unwrap();
    screen::wait_for_line(&run, "ready");
    let daemon = here.world.daemon_pid();
    let _ = here.world.lane(&["stop", "a"]).ok();
    assert_eq!(here.world.daemon_pid(), daemon);
    let _ = here.world.lane(&["daemon", "stop"]).ok();
}

#[test]
fn a_temp_folder_that_others_have_prepared_is_refused() {
    let Some(here) = Socketless::new() else { return };
    let private = here.private();
    let refused = |why: &str| {
        let error = has_failed(&here.lane(&["daemon", "start", "--json"]), 6, "daemon_not_started");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(private.to_str().unwrap()) && message.contains(why), "{message}");
    };
    fs::DirBuilder::new().mode(0o755).create(&private).unwrap();
    fs::set_permissions(&private, fs::Permissions::from_mode(0o755)).unwrap();
    refused("must be private");
    fs::remove_dir(&private).unwrap();
    let elsewhere = here.world.root().join("elsewhere");
    fs::DirBuilder::new().mode(0o700).create(&elsewhere).unwrap();
    symlink(&elsewhere, &private).unwrap();
    refused("Not a directory");
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
    fs::remove_file(&private).unwrap();
    fs::write(&private, "").unwrap();
    refused("Not a directory");
}

#[test]
fn a_socket_that_somebody_else_points_to_is_not_used() {
    let world = environment();
    fs::DirBuilder::new().mode(0o700).create(&world.home).unwrap();
    let open_to_all = world.root().join("open");
    fs::create_dir(&open_to_all).unwrap();
    fs::set_permissions(&open_to_all, fs::Permissions::from_mode(0o777)).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(open_to_all.join("s")).unwrap();
    fs::write(world.home.join("socket.at"), open_to_all.join("s").to_str().unwrap()).unwrap();
    let error = has_failed(&world.lane(&["ls", "--json"]), 6, "daemon_unreachable");
    assert!(error["message"].as_str().unwrap().contains("must be private"), "{error}");
}

#[test]
fn nothing_is_run_where_it_would_not_survive_a_reboot() {
    let world = environment();
    // In a namespace of its own everybody may mount.
    let apart = ["--user", "--map-root-user", "--mount", "sh", "-c"];
    let mut looks = world.program("unshare");
    if !looks.args(apart).arg("mount -t tmpfs tmpfs /mnt").status().is_ok_and(|status| status.success()) {
        not_tested("this machine lets nobody have a namespace");
        return;
    }
    fs::create_dir(&world.home).unwrap();
    let script = r#"mount -t tmpfs -o mode=700 tmpfs "$LANEWAY_HOME"
        lane new a --json -- true; echo "$?"
        lane new b > made; echo "$?"
        lane run b --json -- true; echo "$?"
        lane exec b --json -- true; echo "$?"
        lane close b > closed; echo "$?"
        lane daemon stop > stopped; echo "$?""#;
    let said = finish(world.program("unshare").args(apart).arg(script), b"").ok().out();
    let lines: Vec<&str> = said.lines().collect();
    let [new, five, zero, run, five_too, exec, of_exec, end @ ..] = &lines[..] else { panic!("{said}") };
    assert_eq!([*five, *zero, *five_too, *of_exec], ["5", "0", "5", "125"], "{said}");
    assert_eq!(end, ["0", "0"], "{said}");
    for error in [new, run, exec] {
        let error: serde_json::Value = serde_json::from_str(error).unwrap();
        assert_eq!(error["error"]["code"], "home_in_memory", "{error}");
        assert!(
            error["error"]["message"].as_str().unwrap().contains("would not survive a reboot"),
            "{error}"
        );
    }
}
