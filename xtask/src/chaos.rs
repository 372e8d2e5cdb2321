//! `cargo xtask chaos`: the daemon and holders killed at every point and at any moment, and what must hold then.
//!
//! * [`points`]: every fault point, in every operation that reaches it
//! * [`operations`]: those operations; [`holds`]: windows in which others do something meanwhile
//! * [`keyed`]: a request that is sent again
//! * [`random`]: random commands of several clients, and random kills
//! * [`crowd`]: many lanes at once, of two daemons
//! * [`soak`]: workers that talk and are killed for a long time, and what a client is told of it
//! * [`world`]: one repository and home, with programs that have fault points
//! * [`ledger`]: what was in lanes and must not be lost; [`invariants`]: what must hold when all is quiet

mod crowd;
mod holds;
mod invariants;
mod keyed;
mod ledger;
mod operations;
mod points;
mod random;
mod soak;
mod world;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;

pub(crate) use soak::program::ProgramArgs;

use crate::{shell, tools};

/// Kill the daemon and holders at every fault point, and see that nothing is lost
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ChaosArgs {
    /// Walk every fault point in every operation that reaches it
    #[arg(long, required_unless_present_any = ["random", "crowd", "soak"])]
    points: bool,
    /// Random commands and kills for so long, such as 90s or 10m
    #[arg(long, value_name = "TIME", conflicts_with = "points", value_parser = duration)]
    random: Option<Duration>,
    /// What the random commands and kills follow from [default: one of its own, which is printed]
    #[arg(long, value_name = "N", conflicts_with_all = ["points", "crowd"])]
    seed: Option<u64>,
    /// So many lanes at once in one repository, of two daemons, beside a person who uses git there
    #[arg(long, value_name = "N", conflicts_with_all = ["points", "random"], value_parser = clap::value_parser!(u16).range(2..))]
    crowd: Option<u16>,
    /// Workers that talk, come back and are killed, with their holders and the daemon; nothing may be lost, nothing grow
    #[arg(long, conflicts_with_all = ["points", "random", "crowd"])]
    soak: bool,
    /// So long
    #[arg(long = "for", value_name = "TIME", requires = "soak", default_value = "10m", value_parser = duration)]
    soak_time: Duration,
    /// Only operations and points whose names contain one of these
    #[arg(long, value_name = "NAME", num_args = 1.., requires = "points")]
    only: Vec<String>,
    /// Cases at the same time; as many as there are cores by default
    #[arg(long, value_name = "N", requires = "points")]
    jobs: Option<usize>,
}

/// Builds programs with fault points, and lets them crash. Succeeds if nothing was lost.
pub(crate) fn run(args: &ChaosArgs) -> Result<ExitCode> {
    tools::git()?;
    let stage = Stage::build()?;
    let seed = args.seed.unwrap_or_else(|| u64::from(std::process::id()));
    let ended = if let Some(time) = args.random {
        random::run(&stage, time, seed)?
    } else if let Some(n_lanes) = args.crowd {
        crowd::run(&stage, usize::from(n_lanes))?
    } else if args.soak {
        soak::run(&stage, args.soak_time, seed)?
    } else {
        let jobs = args.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        return points::walk(&stage, &args.only, jobs);
    };
    if ended == ExitCode::SUCCESS {
        stage.clear()?;
    }
    Ok(ended)
}

/// What the workers of a soak run.
pub(crate) fn run_program(args: &ProgramArgs) -> Result<ExitCode> {
    soak::program::run(args)
}

/// The folders of commands like this one that were broken off, or in which something went wrong: named by a prefix and
/// the number of a process that is not there any more.
fn of_the_dead(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let is_dead = |name: &std::ffi::OsString| {
        let number = name.to_str().and_then(|name| name.strip_prefix(prefix)?.parse::<u32>().ok());
        number.is_some_and(|number| !Path::new("/proc").join(number.to_string()).exists())
    };
    entries.filter(|entry| is_dead(&entry.file_name())).map(|entry| entry.path()).collect()
}

/// `90s` or `10m`.
fn duration(text: &str) -> Result<Duration, String> {
    let parsed = [("s", 1), ("m", 60)].iter().find_map(|(unit, seconds)| {
        text.strip_suffix(unit)?.parse::<u64>().ok().map(|n| Duration::from_secs(n * seconds))
    });
    parsed.ok_or_else(|| format!("{text:?} is no time such as 90s or 10m"))
}

/// Where everything of one command is.
pub(crate) struct Stage {
    /// Holds one folder per world; what went wrong stays there for a look.
    folder: PathBuf,
    /// Holds their repositories: on a memory filesystem if there is one, since a disk that others use makes each
    /// rescue wait for them. Homes are on the disk, as they must be.
    repositories: PathBuf,
    /// The programs that have fault points.
    binaries: PathBuf,
    /// What programs that talk are: this one, which may be built anew meanwhile.
    talks: PathBuf,
}

/// What folders on a memory filesystem begin with; the number of this process follows.
const IN_MEMORY: &str = "laneway-chaos-";

impl Stage {
    /// Builds the programs beside the ordinary ones, which share what is compiled and stay as they are.
    fn build() -> Result<Self> {
        let target = shell::target_folder()?;
        let own = target.join("chaos");
        let mut cargo = shell::cargo();
        cargo
            .args(["build", "--locked", "--quiet", "--features", "laneway-fault/fault-points"])
            .args(["--package", "laneway", "--package", "laneway-holder", "--package", "laneway-fault"])
            .env("CARGO_TARGET_DIR", &own)
            .env("CARGO_BUILD_BUILD_DIR", &target);
        shell::step("build, with fault points", &mut cargo)?;
        let folder = own.join(std::process::id().to_string());
        std::fs::create_dir_all(&folder)?;
        for dead in of_the_dead(&own, "") {
            // With the final `/`, so that 12 is not taken for 123.
            world::end_processes_of(&dead.join(""));
        }
        let talks = folder.join("talks");
        std::fs::copy("/proc/self/exe", &talks)?;
        let memory = Path::new("/dev/shm");
        for dead in of_the_dead(memory, IN_MEMORY) {
            // Another user's stays.
            let _ = std::fs::remove_dir_all(dead);
        }
        let repositories = memory.join(format!("{IN_MEMORY}{}", std::process::id()));
        let repositories = match std::fs::create_dir(&repositories) {
            Ok(()) => repositories,
            Err(_) => folder.clone(),
        };
        Ok(Self { folder, repositories, binaries: own.join("debug"), talks })
    }

    /// Leaves nothing behind.
    fn clear(&self) -> Result<()> {
        for folder in [&self.repositories, &self.folder] {
            if folder.exists() {
                std::fs::remove_dir_all(folder)?;
            }
        }
        Ok(())
    }

    fn folder(&self) -> &Path {
        &self.folder
    }
}
