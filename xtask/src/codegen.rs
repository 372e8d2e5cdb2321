//! What is made from the code: `docs/cli.md`, the help of every command in one file,
//! `docs/laneway.schema.json`, what may stand in a `laneway.toml`, and `docs/openapi.json`, the description of the API.
//!
//! Manual pages are not kept: `lane man` makes them from the program at hand.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::shell;

/// Where the help goes, from the root.
const FILE: &str = "docs/cli.md";

/// Where the schema goes.
const SCHEMA: &str = "docs/laneway.schema.json";

/// Where the description of the API goes.
const API: &str = "docs/openapi.json";

const HEAD: &str = "\
# The commands

<!-- Made by `cargo xtask codegen` from the help of the program. -->

What `lane COMMAND --help` says, in one place. [guide.md](guide.md) is the way in, [terminals.md](terminals.md) says more
about terminals.
";

/// Builds `lane`, and writes the files anew.
pub(crate) fn write() -> Result<()> {
    shell::step("build", shell::cargo().args(["build", "--locked", "--quiet", "--package", "laneway"]))?;
    for (file, text) in [(FILE, text()?), (SCHEMA, schema()?), (API, api()?)] {
        fs::write(shell::root().join(file), text).context(file)?;
        shell::remark(&format!("{file} is written"));
    }
    Ok(())
}

/// Whether the files are what [`fn@write`] would make of the `lane` that was built. That [`API`] is, a test of the daemon
/// says.
pub(crate) fn check() -> Result<()> {
    shell::heading("generated files");
    for (file, text) in [(FILE, text()?), (SCHEMA, schema()?)] {
        if fs::read_to_string(shell::root().join(file)).context(file)? != text {
            bail!("{file} is not what the program says of itself\n  try: cargo xtask codegen");
        }
        shell::remark(&format!("{file} is fresh"));
    }
    Ok(())
}

fn api() -> Result<String> {
    let arguments = ["run", "--locked", "--quiet", "--package", "laneway-daemon", "--example", "openapi"];
    let output = shell::cargo().args(arguments).output().context("cargo")?;
    ensure!(
        output.status.success(),
        "the description of the API could not be made ({}):\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).context("a description is text")
}

fn schema() -> Result<String> {
    let lane = shell::target_folder()?.join("debug/lane");
    let output =
        shell::program(lane).args(["init", "--print-schema"]).env_clear().output().context("lane")?;
    ensure!(output.status.success(), "lane init --print-schema ended with {}", output.status);
    String::from_utf8(output.stdout).context("a schema is text")
}

fn text() -> Result<String> {
    let lane = shell::target_folder()?.join("debug/lane");
    let mut text = HEAD.to_owned();
    add(&lane, &[], &mut text)?;
    Ok(text)
}

/// Adds a command and all below it.
fn add(lane: &Path, words: &[String], text: &mut String) -> Result<()> {
    let called = ["lane".to_owned()].iter().chain(words).cloned().collect::<Vec<_>>().join(" ");
    // The width is set, so that the file is the same wherever it is made.
    let output = shell::program(lane)
        .args(words)
        .arg("--help")
        .env_clear()
        .env("COLUMNS", "100")
        .output()
        .context("lane")?;
    ensure!(output.status.success(), "{called} --help ended with {}", output.status);
    let help = String::from_utf8(output.stdout).context("help is text")?;
    writeln!(text, "\n## {called}\n\n```text\n{}\n```", help.trim_end())?;
    for command in commands_in(&help) {
        add(lane, &[words, &[command]].concat(), text)?;
    }
    Ok(())
}

/// The commands that a help text lists, but for the one that prints help.
fn commands_in(help: &str) -> Vec<String> {
    let list =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    list.filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')))
        .filter_map(|line| line.split(' ').next())
        .filter(|command| *command != "help")
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_of_a_help_text_are_found() {
        let help = "Do things\n\nUsage: x\n\nCommands:\n  new     Make it\n          and more\n  daemon  Run\n  help    Print\n\n\
            Options:\n  -h, --help\n";
        assert_eq!(commands_in(help), ["new", "daemon"]);
        assert_eq!(commands_in("Usage: x\n\nOptions:\n  -h\n"), [] as [&str; 0]);
    }
}
