//! What the kernel counts of processes, and waiting for their ends.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Memory that only this process has, in MiB.
pub(crate) fn private_mib(pid: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let kib = |name: &str| number_after(&text, name).with_context(|| format!("process {pid} has no {name}"));
    Ok((kib("Private_Clean:")? + kib("Private_Dirty:")?) as f64 / 1024.0)
}

/// The part of it that was written to, in MiB: without the pages of the program itself.
pub(crate) fn dirty_mib(pid: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let kib =
        number_after(&text, "Private_Dirty:").with_context(|| format!("process {pid} has no figures"))?;
    Ok(kib as f64 / 1024.0)
}

/// How many descriptors a process has open.
pub(crate) fn n_descriptors(pid: u32) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// The most memory that the process ever had at once, in MiB.
pub(crate) fn peak_mib(pid: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    Ok(number_after(&text, "VmHWM:").with_context(|| format!("process {pid} has no VmHWM"))? as f64 / 1024.0)
}

fn number_after(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The kernel's ticks in milliseconds: what [`cpu_ms`] counts in.
pub(crate) const TICK_MS: f64 = 10.0;

/// The time that a process has run, its ended threads too, in milliseconds; in whole ticks.
pub(crate) fn cpu_ms(pid: u32) -> Result<f64> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name is in parentheses and may hold anything. Of the fields as proc(5) numbers them, state is 3, utime 14
    // and stime 15.
    let (_, fields) = line.rsplit_once(") ").context("a stat without a name")?;
    let mut fields = fields.split(' ').skip(11).map(str::parse::<u64>);
    let (user, system) = (fields.next().context("no utime")??, fields.next().context("no stime")??);
    Ok((user + system) as f64 * TICK_MS)
}

/// The time that the first thread of a process has run, in milliseconds; exact to the nanosecond.
pub(crate) fn first_thread_ms(pid: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat"))?;
    let ran: u64 = text.split_whitespace().next().context("an empty schedstat")?.parse()?;
    Ok(ran as f64 / 1e6)
}

/// A descriptor of a process; none if there is none of that number.
pub(crate) fn open(pid: u32) -> Option<OwnedFd> {
    pidfd_open(Pid::from_raw(pid.cast_signed())?, PidfdFlags::empty()).ok()
}

/// Whether one of the processes ends within a time.
pub(crate) fn any_ends_within<'a>(
    processes: impl IntoIterator<Item = &'a OwnedFd>,
    limit: Duration,
) -> Result<bool> {
    let deadline = Instant::now() + limit;
    let mut polled: Vec<PollFd<'_>> =
        processes.into_iter().map(|process| PollFd::new(process, PollFlags::IN)).collect();
    loop {
        let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now()))?;
        match poll(&mut polled, Some(&left)) {
            Ok(n_ready) => return Ok(n_ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Whether a process ends within a time.
pub(crate) fn ends_within(process: &OwnedFd, limit: Duration) -> Result<bool> {
    any_ends_within([process], limit)
}

/// Kills a process of ours.
pub(crate) fn kill(process: &OwnedFd) {
    // It may have ended at this moment.
    let _ = pidfd_send_signal(process, Signal::KILL);
}

/// The processes whose environment or arguments name a folder: number and command line.
pub(crate) fn belonging_to(folder: &Path) -> Vec<(u32, String)> {
    let wanted = folder.as_os_str().as_bytes();
    let names = |bytes: &[u8]| bytes.windows(wanted.len()).any(|window| window == wanted);
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        if pid != std::process::id() && (names(&arguments) || names(&environment)) {
            found.push((pid, String::from_utf8_lossy(&arguments).replace('\0', " ")));
        }
    }
    found
}
