//! `cargo xtask chaos`: the daemon and holders killed at every point and at any moment, and what must hold then.
//!
//! * [`points`]: every fault point, in every operation that reaches it
//! * [`operations`]: those operations
//! * [`world`]: one repository and home, with programs that have fault points
//! * [`ledger`]: what was in lanes and must not be lost; [`invariants`]: what must hold when all is quiet

mod invariants;
mod ledger;
mod operations;
mod points;
mod world;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;

use crate::{shell, tools};

/// Kill the daemon and holders at every fault point, and see that nothing is lost
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ChaosArgs {
    /// Walk every fault point in every operation that reaches it
    #[arg(long, required = true)]
    points: bool,
    /// Only operations and points whose names contain one of these
    #[arg(long, value_name = "NAME", num_args = 1..)]
    only: Vec<String>,
    /// Cases at the same time; as many as there are cores by default
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
}

/// Builds programs with fault points, and lets them crash. Succeeds if nothing was lost.
pub(crate) fn run(args: &ChaosArgs) -> Result<ExitCode> {
    tools::git()?;
    let stage = Stage::build()?;
    let jobs = args.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    debug_assert!(args.points, "the command line demands it");
    points::walk(&stage, &args.only, jobs)
}

/// Where everything of one command is.
pub(crate) struct Stage {
    /// Holds one folder per world; what went wrong stays there for a look.
    folder: PathBuf,
    /// The programs that have fault points.
    binaries: PathBuf,
}

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
        Ok(Self { folder, binaries: own.join("debug") })
    }

    fn folder(&self) -> &Path {
        &self.folder
    }
}
