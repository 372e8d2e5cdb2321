//! Everything that CI runs, in the order in which a mistake is found soonest.

use anyhow::Result;

use crate::{codegen, demo, licences, shell, tools};

/// Runs it; the first failure ends it.
pub(crate) fn run() -> Result<()> {
    tools::git()?;
    tools::require(&tools::IN_TERMINALS)?;
    tools::remark_what_is_left_out();
    shell::step("formatting", shell::cargo().args(["fmt", "--all", "--check"]))?;
    licences::check()?;
    let clippy = ["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"];
    shell::step("lints", shell::cargo().args(clippy))?;
    // The tests of the command line run the binaries of other packages, which cargo does not build for them.
    shell::step("build", shell::cargo().args(["build", "--locked", "--workspace", "--all-targets"]))?;
    codegen::check()?;
    let tests: &[&str] = if tools::is_there("cargo-nextest") {
        &["nextest", "run", "--locked", "--workspace", "--no-fail-fast"]
    } else {
        shell::remark("cargo-nextest is not installed: the tests run with cargo test");
        &["test", "--locked", "--workspace", "--all-targets", "--no-fail-fast"]
    };
    shell::step("tests", shell::cargo().args(tests))?;
    let docs = ["doc", "--locked", "--workspace", "--no-deps", "--document-private-items"];
    shell::step("documentation", shell::cargo().args(docs).env("RUSTDOCFLAGS", "-D warnings"))?;
    demo::run()?;
    shell::heading("all of it passed");
    Ok(())
}
