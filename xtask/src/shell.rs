//! Running programs for people to see.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anstyle::Style;
use anyhow::{Context, Result, bail};
use serde_json::Value;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().expect("xtask stands in the root").to_owned()
}

/// A program with the environment of this process.
#[expect(clippy::disallowed_methods, reason = "the one place of these commands that starts programs")]
pub(crate) fn program(name: impl AsRef<OsStr>) -> Command {
    Command::new(name)
}

/// The cargo that runs this.
pub(crate) fn cargo() -> Command {
    let mut cargo = program(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}

/// Where cargo puts what it builds.
pub(crate) fn target_folder() -> Result<PathBuf> {
    let output = cargo().args(["metadata", "--locked", "--no-deps", "--format-version", "1"]).output();
    let output = output.context("cargo could not be started")?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    Ok(Path::new(metadata["target_directory"].as_str().context("cargo metadata")?).to_owned())
}

/// Says what comes.
pub(crate) fn heading(text: &str) {
    anstream::println!("\n{BOLD}{text}{BOLD:#}");
}

/// Says something in passing.
pub(crate) fn remark(text: &str) {
    anstream::println!("{DIM}{text}{DIM:#}");
}

/// Runs a step; a failure ends everything.
pub(crate) fn step(name: &str, command: &mut Command) -> Result<()> {
    heading(name);
    let status = command.status().with_context(|| format!("{name}: it could not be started"))?;
    if !status.success() {
        bail!("{name} failed ({status})");
    }
    Ok(())
}
