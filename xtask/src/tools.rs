//! What has to be on the machine, and what to type if it is not.

use anyhow::{Result, bail};

use crate::shell;

/// A program that is needed.
pub(crate) struct Tool {
    /// Its name.
    pub(crate) name: &'static str,
    /// The Debian package that has it.
    pub(crate) package: &'static str,
}

/// For everything.
pub(crate) const GIT: Tool = Tool { name: "git", package: "git" };

/// What the tests run in terminals.
pub(crate) const IN_TERMINALS: [Tool; 4] = [
    Tool { name: "bash", package: "bash" },
    Tool { name: "less", package: "less" },
    Tool { name: "python3", package: "python3" },
    Tool { name: "vim", package: "vim" },
];

/// What some tests of terminals use if it is there: another terminal to compare to, and further programs to show.
const IN_SOME_TESTS: [Tool; 3] = [
    Tool { name: "tmux", package: "tmux" },
    Tool { name: "top", package: "procps" },
    Tool { name: "node", package: "nodejs" },
];

/// Says which tests are left out for what is not there.
pub(crate) fn remark_what_is_left_out() {
    for Tool { name, package } in IN_SOME_TESTS.iter().filter(|tool| !is_there(tool.name)) {
        shell::remark(&format!("without {name} (package {package}) some terminals are not tested with it"));
    }
}

/// An error that names everything that is missing, and how to install it.
pub(crate) fn require<'a>(tools: impl IntoIterator<Item = &'a Tool>) -> Result<()> {
    let missing: Vec<&Tool> = tools.into_iter().filter(|tool| !is_there(tool.name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|tool| tool.name).collect();
    let packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    bail!("missing: {}\n  try: sudo apt-get install {}", names.join(", "), packages.join(" "))
}

/// Whether a program of that name can be started.
pub(crate) fn is_there(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .any(|folder| rustix::fs::access(folder.join(name), rustix::fs::Access::EXEC_OK).is_ok())
}

/// git, and that it is one that Laneway can use; the version it says.
pub(crate) fn git() -> Result<String> {
    require([&GIT])?;
    let said = shell::program("git").arg("--version").output()?.stdout;
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    let mut numbers = said.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version < (2, 38) {
        bail!("{said} is too old: Laneway needs git 2.38 or newer");
    }
    Ok(said)
}
