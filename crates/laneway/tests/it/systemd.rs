//! `lane daemon install`, with a systemd that only notes what it is asked.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;

use laneway_testkit::process::{finish, readable_within};
use laneway_testkit::{Finished, LIMIT, TestEnvironment};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use serde_json::json;

use crate::environment;
use crate::support::has_failed;

/// A user's machine with systemd on it.
struct Machine {
    world: TestEnvironment,
    /// Programs that stand before all others.
    bin: PathBuf,
    config: PathBuf,
}

/// Notes what it is asked, and fails at what the file `fails` names.
const SYSTEMCTL: &str = r#"#!/bin/sh
folder=$(dirname "$0")
echo "$*" >> "$folder/asked"
if grep -qsxF -e "$*" "$folder/fails"; then echo "it went wrong" >&2; exit 1; fi
"#;

const LOGINCTL: &str = r#"#!/bin/sh
case "$*" in *Linger*) cat "$(dirname "$0")/linger" 2>/dev/null || exit 1;; esac
"#;

impl Machine {
    #[track_caller]
    fn new() -> Self {
        let world = environment();
        let (bin, config) = (world.root().join("bin"), world.root().join("config"));
        fs::create_dir(&bin).unwrap();
        let machine = Self { world, bin, config };
        machine.script("systemctl", SYSTEMCTL);
        machine.script("loginctl", LOGINCTL);
        machine
    }

    #[track_caller]
    fn script(&self, name: &str, text: &str) {
        let path = self.bin.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.world.lane_command(arguments);
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", self.bin.display())).env("XDG_CONFIG_HOME", &self.config);
        command
    }

    #[track_caller]
    fn lane(&self, arguments: &[&str]) -> Finished {
        finish(&mut self.command(arguments), b"")
    }

    /// What systemd was asked since the last time.
    #[track_caller]
    fn asked(&self) -> Vec<String> {
        let asked = fs::read_to_string(self.bin.join("asked")).unwrap_or_default();
        let _ = fs::remove_file(self.bin.join("asked"));
        asked.lines().map(|line| line.trim_start_matches("--user --no-pager ").to_owned()).collect()
    }

    fn unit(&self) -> PathBuf {
        self.config.join("systemd/user/laneway.service")
    }
}

#[test]
fn a_unit_is_installed_started_and_removed() {
    let machine = Machine::new();
    fs::write(machine.bin.join("linger"), "Linger=no\n").unwrap();
    let said = machine.lane(&["daemon", "install"]).ok().out();
    assert!(said.contains(machine.unit().to_str().unwrap()), "{said}");
    assert!(said.contains("linger is off") && said.contains("loginctl enable-linger"), "{said}");
    let started =
        ["show --property=Version", "daemon-reload", "enable laneway.service", "start laneway.service"];
    assert_eq!(machine.asked(), started);
    let text = fs::read_to_string(machine.unit()).unwrap();
    assert_eq!(machine.lane(&["daemon", "install", "--print"]).ok().out(), text);
    let home = machine.world.home.display();
    let lane = fs::canonicalize(env!("CARGO_BIN_EXE_lane")).unwrap();
    for line in [
        format!("# Made by `lane daemon install` for {home}"),
        format!("ExecStart=\"{}\" daemon serve", lane.display()),
        format!("Environment=\"LANEWAY_HOME={home}\""),
        "KillMode=process".to_owned(),
        "Restart=on-failure".to_owned(),
        "WantedBy=default.target".to_owned(),
    ] {
        assert!(text.lines().any(|written| written == line), "{line}\n{text}");
    }
    assert!(!machine.world.home.exists(), "a systemd that only notes starts nothing");

    // Again, with a daemon: nothing changes, and that one goes on.
    let _ = machine.lane(&["daemon", "start"]).ok();
    let daemon = machine.world.daemon_pid();
    fs::write(machine.bin.join("linger"), "Linger=yes\n").unwrap();
    let again = machine.lane(&["daemon", "install", "--json"]).ok().json();
    let expected = json!({"unit": machine.unit(), "changed": false, "started": false, "linger": true});
    assert_eq!(again, expected);
    assert!(!machine.asked().iter().any(|asked| asked.starts_with("start")));
    let said = machine.lane(&["daemon", "install"]).ok().out();
    assert!(said.contains(&daemon.to_string()) && said.contains("linger is on"), "{said}");
    machine.asked();

    let said = machine.lane(&["daemon", "uninstall"]).ok().out();
    assert!(said.contains("goes on"), "{said}");
    let asked = machine.asked();
    assert_eq!(asked[1..], ["disable laneway.service", "show --property=Version", "daemon-reload"]);
    assert!(!machine.unit().exists());
    assert_eq!(machine.world.daemon_pid(), daemon);
    let uninstalled = machine.lane(&["daemon", "uninstall", "--json"]).ok().json();
    assert_eq!(uninstalled["was_installed"], false);
}

#[test]
fn what_systemd_is_told_to_run_is_a_daemon() {
    let machine = Machine::new();
    let unit = machine.lane(&["daemon", "install", "--print"]).ok().out();
    let value = |line: &str| line.split_once('=').unwrap().1.trim_matches('"').to_owned();
    let command = unit.lines().find(|line| line.starts_with("ExecStart=")).map(value).unwrap();
    let command = command.replace('"', "");
    let words: Vec<&str> = command.split(' ').collect();
    let mut daemon = machine.world.program("setsid");
    daemon.env_clear().env("HOME", machine.world.root().join("user")).args(&words);
    for line in unit.lines().filter(|line| line.starts_with("Environment=")) {
        let assignment = value(line);
        let (name, value) = assignment.split_once('=').unwrap();
        daemon.env(name, value);
    }
    fs::create_dir(&machine.world.home).unwrap();
    let changes = inotify::init(CreateFlags::CLOEXEC).unwrap();
    inotify::add_watch(&changes, &machine.world.home, WatchFlags::CREATE).unwrap();
    let mut process = daemon.spawn().unwrap();
    // It has begun, and may not serve yet: whoever comes now must not begin another one.
    while !machine.world.home.join("daemon.lock").exists() {
        assert!(readable_within(&changes, LIMIT), "it does not begin");
        rustix::io::read(&changes, &mut [0; 4096]).unwrap();
    }
    machine.world.start("a", &["fake-agent", "ready", "wait"]);
    assert_eq!(machine.world.daemon_pid(), process.id());
    // Another one finds the place taken, and says so in a way that is not tried again.
    assert!(unit.lines().any(|line| line == "RestartPreventExitStatus=6"));
    let _ = machine.world.lane(&["daemon", "stop"]).ok();
    assert!(process.wait().unwrap().success(), "an end that was asked for is no failure");
    assert_eq!(machine.world.worker("a")["status"], "running");
}

#[test]
fn what_somebody_else_has_made_is_left_alone() {
    let machine = Machine::new();
    let unit = machine.unit();
    fs::create_dir_all(unit.parent().unwrap()).unwrap();
    fs::write(&unit, "[Service]\nExecStart=/bin/mine\n").unwrap();
    for verb in ["install", "uninstall"] {
        let error = has_failed(&machine.lane(&["daemon", verb, "--json"]), 5, "unit_is_foreign");
        assert!(error["message"].as_str().unwrap().contains("left alone"), "{error}");
    }
    assert_eq!(fs::read_to_string(&unit).unwrap(), "[Service]\nExecStart=/bin/mine\n");
    // A link may lead to anything, also to what looks like ours.
    let elsewhere = machine.world.root().join("elsewhere");
    fs::write(&elsewhere, machine.lane(&["daemon", "install", "--print"]).ok().stdout).unwrap();
    fs::remove_file(&unit).unwrap();
    symlink(&elsewhere, &unit).unwrap();
    has_failed(&machine.lane(&["daemon", "install", "--json"]), 5, "unit_is_foreign");
    fs::remove_file(&unit).unwrap();
    // Ours, for another home.
    let mut other = machine.command(&["daemon", "install"]);
    let _ = finish(other.env("LANEWAY_HOME", machine.world.root().join("other")), b"").ok();
    let installed = fs::read_to_string(&unit).unwrap();
    let error = has_failed(&machine.lane(&["daemon", "install", "--json"]), 5, "unit_of_another_home");
    assert!(error["hint"].as_str().unwrap().contains("lane daemon uninstall"), "{error}");
    assert_eq!(fs::read_to_string(&unit).unwrap(), installed);
}

#[test]
fn without_systemd_nothing_is_written_and_the_way_without_is_told() {
    let machine = Machine::new();
    let lane = fs::canonicalize(env!("CARGO_BIN_EXE_lane")).unwrap();
    let refused = |said: &str| {
        let error = has_failed(&machine.lane(&["daemon", "install", "--json"]), 1, "no_systemd");
        assert!(error["message"].as_str().unwrap().contains(said), "{error}");
        assert!(
            error["hint"].as_str().unwrap().contains(&format!("{} daemon start", lane.display())),
            "{error}"
        );
        assert!(!machine.config.exists());
    };
    machine.script("systemctl", "#!/bin/sh\necho 'Failed to connect to bus: No medium found' >&2\nexit 1\n");
    refused("No medium found");
    fs::remove_file(machine.bin.join("systemctl")).unwrap();
    let mut command = machine.command(&["daemon", "install", "--json"]);
    let finished = finish(command.env("PATH", &machine.bin), b"");
    assert!(has_failed(&finished, 1, "no_systemd")["message"].as_str().unwrap().contains("not installed"));
    let _ = finish(machine.command(&["daemon", "install", "--print"]).env("PATH", &machine.bin), b"").ok();
    // What was installed before can go without it.
    fs::create_dir_all(machine.unit().parent().unwrap()).unwrap();
    fs::write(machine.unit(), machine.lane(&["daemon", "install", "--print"]).ok().stdout).unwrap();
    let _ = finish(machine.command(&["daemon", "uninstall"]).env("PATH", &machine.bin), b"").ok();
    assert!(!machine.unit().exists());
}

#[test]
fn an_install_that_fails_leaves_what_was_there() {
    let machine = Machine::new();
    fs::write(machine.bin.join("fails"), "--user --no-pager enable laneway.service\n").unwrap();
    let error = has_failed(&machine.lane(&["daemon", "install", "--json"]), 1, "systemd_failed");
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("systemctl --user enable laneway.service") && message.contains("it went wrong"),
        "{message}"
    );
    assert!(!machine.unit().exists());
    fs::remove_file(machine.bin.join("fails")).unwrap();
    let _ = machine.lane(&["daemon", "install"]).ok();
    let before = format!("{}# changed by hand\n", fs::read_to_string(machine.unit()).unwrap());
    fs::write(machine.unit(), &before).unwrap();
    fs::write(machine.bin.join("fails"), "--user --no-pager enable laneway.service\n").unwrap();
    has_failed(&machine.lane(&["daemon", "install", "--json"]), 1, "systemd_failed");
    assert_eq!(fs::read_to_string(machine.unit()).unwrap(), before);
}
