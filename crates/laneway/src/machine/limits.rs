//! How much of what runs out is left: terminals, files, processes, watches.

use std::fs;

use rustix::process::{Resource, getrlimit};

use super::{About, Check, State};

/// Free terminals that leave room for a day's work; holders need one each.
const FEW_TERMINALS: u64 = 32;

/// Open files the daemon gets along with: two for each of some hundred holders, and its clients.
const FEW_FILES: u64 = 1024;

/// Processes more that leave room for a few builds.
const FEW_PROCESSES: u64 = 256;

/// Watches of files, of which a following reader takes one.
const FEW_WATCHES: u64 = 16;

/// All of them.
pub(super) fn checks() -> Vec<Check> {
    vec![terminals(), files(), processes(), watches()]
}

fn check(name: &'static str, state: State, found: impl Into<String>) -> Check {
    Check::new(About::Limits, name, state, found)
}

/// How something stands of which `free` are left.
fn by_what_is_left(free: u64, few: u64) -> State {
    match free {
        0 => State::Wrong,
        free if free < few => State::Warning,
        _ => State::Ok,
    }
}

fn terminals() -> Check {
    const NAME: &str = "terminals";
    let number = |name: &str| number_in(&format!("/proc/sys/kernel/pty/{name}"));
    let (Some(max), Some(used)) = (number("max"), number("nr")) else {
        return check(NAME, State::Unknown, "the kernel does not say how many there may be");
    };
    let free = max.saturating_sub(used);
    let check = check(NAME, by_what_is_left(free, FEW_TERMINALS), format!("{free} free of {max}"));
    if check.state == State::Ok { check } else { check.advice(format!("sysctl kernel.pty.max={}", max * 2)) }
}

fn files() -> Check {
    let limit = getrlimit(Resource::Nofile);
    let shown = |limit: Option<u64>| limit.map_or_else(|| "no limit".to_owned(), |limit| limit.to_string());
    let found =
        format!("{} at once, {} where a program raises it", shown(limit.current), shown(limit.maximum));
    // The daemon raises its own.
    let state = if limit.maximum.is_some_and(|most| most < FEW_FILES) { State::Warning } else { State::Ok };
    let check = check("open files", state, found);
    if state == State::Ok {
        check
    } else {
        check.advice("raise nofile in /etc/security/limits.conf, and log in anew")
    }
}

fn processes() -> Check {
    const NAME: &str = "processes";
    let used = threads_of_this_user();
    let mut bounds: Vec<(u64, String)> = Vec::new();
    // It does not bind root.
    if let Some(limit) = getrlimit(Resource::Nproc).current.filter(|_| !rustix::process::geteuid().is_root())
    {
        bounds.push((limit.saturating_sub(used), format!("of {limit} for this user")));
    }
    for (free, path, max) in in_control_groups() {
        bounds.push((free, format!("of {max} in the control group {path}")));
    }
    match bounds.into_iter().min() {
        Some((free, of)) => {
            let check = check(NAME, by_what_is_left(free, FEW_PROCESSES), format!("{free} free {of}"));
            if check.state == State::Ok {
                check
            } else {
                check.advice("see what runs: ps -eLf | wc -l; then raise nproc, or pids.max")
            }
        }
        None => check(NAME, State::Ok, format!("{used} run, no limit")),
    }
}

/// Of each group that this process is in and that has a limit: what is free, its path, its limit.
fn in_control_groups() -> Vec<(u64, String, u64)> {
    let own = super::survival::control_group(std::process::id()).unwrap_or_default();
    let mut found = Vec::new();
    let mut path = own.as_str();
    while !path.is_empty() {
        let number = |name: &str| number_in(&format!("/sys/fs/cgroup{path}/{name}"));
        if let (Some(max), Some(used)) = (number("pids.max"), number("pids.current")) {
            found.push((max.saturating_sub(used), path.to_owned(), max));
        }
        path = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    }
    found
}

/// Each counts against the limit, not only their processes.
fn threads_of_this_user() -> u64 {
    let uid = rustix::process::getuid().as_raw();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()))
        .filter_map(|entry| fs::read_to_string(entry.path().join("status")).ok())
        .filter_map(|status| threads_in(&status, uid))
        .sum()
}

/// The threads of a process, if this user's.
fn threads_in(status: &str, uid: u32) -> Option<u64> {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().next()?.parse::<u64>().ok()
    };
    (field("Uid:")? == u64::from(uid)).then(|| field("Threads:")).flatten()
}

fn watches() -> Check {
    const NAME: &str = "file watches";
    let number = |name: &str| number_in(&format!("/proc/sys/fs/inotify/{name}"));
    let (Some(instances), Some(watches)) = (number("max_user_instances"), number("max_user_watches")) else {
        return check(NAME, State::Unknown, "the kernel does not say how many there may be");
    };
    let check = check(
        NAME,
        by_what_is_left(instances.min(watches), FEW_WATCHES),
        format!("{instances} watchers, {watches} watches"),
    );
    if check.state == State::Ok { check } else { check.advice("sysctl fs.inotify.max_user_instances=128") }
}

fn number_in(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fewer_are_left_the_worse() {
        assert_eq!(
            [0, 1, 31, 32].map(|free| by_what_is_left(free, 32)),
            [State::Wrong, State::Warning, State::Warning, State::Ok]
        );
    }

    #[test]
    fn threads_are_counted_for_their_user() {
        let status = "Name:\tx\nUid:\t1000\t1000\t1000\t1000\nThreads:\t7\n";
        assert_eq!(threads_in(status, 1000), Some(7));
        assert_eq!(threads_in(status, 0), None);
        assert!(threads_of_this_user() >= 1);
    }
}
