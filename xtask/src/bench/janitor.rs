//! Clears up behind a bench, however that ends: a process of its own that waits for the end of its standard input.
//!
//! By then everything should be gone. What still runs is given a moment, then killed and told of: it is known by the
//! bench's folder in its environment or arguments.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::measure::processes;
use crate::shell;

/// What has been told to end may take so long.
const GRACE: Duration = Duration::from_secs(10);

/// Which folders to look after.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct JanitorArgs {
    folders: Vec<PathBuf>,
}

/// The janitor's process, as the bench sees it.
pub(crate) struct Janitor(Child);

impl Janitor {
    /// Starts it, out of the reach of the terminal's ctrl-c.
    pub(crate) fn hire(folders: &[&PathBuf]) -> Result<Self> {
        let mut command = shell::program(std::env::current_exe()?);
        command.arg("bench-janitor").args(folders).process_group(0);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        Ok(Self(child.context("the janitor could not be started")?))
    }

    /// Lets it do its work; what it found.
    pub(crate) fn finish(self) -> Vec<String> {
        // Waiting closes its standard input first.
        match self.0.wait_with_output() {
            Ok(output) => String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect(),
            Err(error) => vec![format!("the janitor was lost: {error}")],
        }
    }
}

/// The janitor itself.
pub(crate) fn run(args: &JanitorArgs) -> Result<ExitCode> {
    // It carries no data: its end is the end of the bench.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    let deadline = Instant::now() + GRACE;
    for folder in &args.folders {
        end_processes(folder, deadline)?;
    }
    for folder in &args.folders {
        if let Err(error) = fs::remove_dir_all(folder)
            && folder.exists()
        {
            tell(&format!("{} is left: {error}", folder.display()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(text: &str) {
    // The bench that would read it may be gone.
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn end_processes(folder: &Path, deadline: Instant) -> Result<()> {
    // Again, since one that ends may have started another.
    loop {
        let found = processes::belonging_to(folder);
        if found.is_empty() {
            return Ok(());
        }
        for (pid, command) in found {
            let Some(process) = processes::open(pid) else { continue };
            let left = deadline.saturating_duration_since(Instant::now());
            if !processes::ends_within(&process, left)? {
                tell(&format!("a process was left and is killed: {pid} {command}"));
                processes::kill(&process);
                processes::ends_within(&process, GRACE)?;
            }
        }
    }
}
