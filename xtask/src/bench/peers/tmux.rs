//! tmux: a server of its own per measurement, without anyone's configuration.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail, ensure};

use super::again;
use crate::bench::program::workload::{COLUMNS, ROWS};
use crate::{shell, tools};

/// What tmux says its version is; it is installed if it can be.
pub(crate) fn find_or_install() -> Result<String> {
    if !tools::is_there("tmux") {
        ensure!(
            rustix::process::geteuid().is_root() && tools::is_there("apt-get"),
            "it is not installed\n  try: sudo apt-get install tmux"
        );
        anstream::eprintln!("installing tmux");
        let is_done = |arguments: &[&str]| -> Result<bool> {
            let mut install = shell::program("apt-get");
            install.arg("--quiet").args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
            Ok(install.stdin(Stdio::null()).stdout(Stdio::null()).status()?.success())
        };
        let install = ["install", "--yes", "tmux"];
        // A fresh machine does not know yet what there is.
        let is_installed = is_done(&install)? || is_done(&["update"])? && is_done(&install)?;
        ensure!(is_installed && tools::is_there("tmux"), "it could not be installed by apt-get");
    }
    let said = shell::program("tmux").arg("-V").output()?.stdout;
    Ok(String::from_utf8_lossy(&said).trim().to_owned())
}

/// A server with one session; killed when it is dropped.
pub(crate) struct Tmux {
    program: Command,
    label: String,
}

/// A window, by its id.
pub(crate) struct Window(String);

impl Tmux {
    /// The session that every server has.
    pub(crate) const SESSION: &str = "bench";

    /// Starts a server whose windows have the size and the history of Laneway's terminals.
    pub(crate) fn start(program: Command) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let tmux = Self { program, label: format!("laneway-bench-{}-{number}", std::process::id()) };
        let (columns, rows) = (COLUMNS.to_string(), ROWS.to_string());
        tmux.say(&["new-session", "-d", "-s", Self::SESSION, "-x", &columns, "-y", &rows, "cat", "-"])?;
        let size = format!("{columns}x{rows}");
        let options = [("history-limit", "10000"), ("default-size", &size), ("status", "off")];
        for (option, value) in options {
            tmux.say(&["set-option", "-g", option, value])?;
        }
        Ok(tmux)
    }

    /// A client with these arguments.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = again(&self.program);
        command.args(["-L", &self.label, "-f", "/dev/null"]).args(arguments);
        command
    }

    /// Runs a client; what it prints.
    pub(crate) fn say(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command(arguments).stdin(Stdio::null()).output()?;
        if !output.status.success() {
            bail!("tmux {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// A client that opens a window with a program in it, and prints the window's id.
    pub(crate) fn opening(&self, words: &[impl AsRef<str>]) -> Command {
        let mut command =
            self.command(&["new-window", "-d", "-P", "-F", "#{window_id}", "-t", "bench:", "--"]);
        command.args(words.iter().map(AsRef::as_ref));
        command
    }

    /// Opens a window with a program in it.
    pub(crate) fn open(&self, words: &[impl AsRef<str>]) -> Result<Window> {
        let output = self.opening(words).stdin(Stdio::null()).output()?;
        ensure!(output.status.success(), "tmux: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(Window::printed(&output.stdout))
    }

    /// Closes a window, and with it its program.
    pub(crate) fn close(&self, window: &Window) -> Result<()> {
        self.say(&["kill-window", "-t", &window.0])?;
        Ok(())
    }

    /// The server's socket.
    pub(crate) fn socket(&self) -> Result<String> {
        self.say(&["display-message", "-p", "#{socket_path}"])
    }

    /// The server's process.
    pub(crate) fn pid(&self) -> Result<u32> {
        self.say(&["display-message", "-p", "#{pid}"])?.parse().context("the server's process")
    }

    /// A client in control mode, which gets the output of all windows.
    pub(crate) fn control(&self) -> Result<Control> {
        let mut command = self.command(&["-C", "attach-session", "-t", Self::SESSION]);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut control = Control { child };
        // Its answer says that the client is attached.
        let stdin = control.child.stdin.as_mut().context("stdin is piped")?;
        stdin.write_all(b"display-message -p it-is-attached\n")?;
        control.read_until(b"it-is-attached", |_| {})?;
        Ok(control)
    }

    /// A client that shows a window.
    pub(crate) fn attaching(&self, window: &Window) -> Result<Command> {
        self.say(&["select-window", "-t", &window.0])?;
        Ok(self.command(&["attach-session", "-t", Self::SESSION]))
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        // What is left is the janitor's.
        let _ = self.say(&["kill-server"]);
    }
}

impl Window {
    /// The window whose id a client printed.
    pub(crate) fn printed(id: &[u8]) -> Self {
        Self(String::from_utf8_lossy(id).trim().to_owned())
    }
}

/// A client in control mode; ended when it is dropped.
pub(crate) struct Control {
    child: Child,
}

impl Control {
    /// What is looked for stands within so many last bytes of what was told.
    const NEAR_THE_END: usize = 256;

    /// Opens a window with a program of plain words in it, and waits for the answer.
    pub(crate) fn open_window(&mut self, words: &[&str]) -> Result<()> {
        let words = words.join(" ");
        self.carry_out(&format!("new-window -d -P -F '#{{pane_id}}' -t {}: -- {words}", Tmux::SESSION))
    }

    /// Closes a window, and waits for the answer.
    pub(crate) fn close_window(&mut self, id: &str) -> Result<()> {
        self.carry_out(&format!("kill-window -t {id}"))
    }

    fn carry_out(&mut self, line: &str) -> Result<()> {
        let stdin = self.child.stdin.as_mut().context("stdin is piped")?;
        writeln!(stdin, "{line}")?;
        let stdout = self.child.stdout.as_mut().context("stdout is piped")?;
        let mut told = Vec::new();
        let mut buffer = vec![0; 4 << 10];
        // One answer ends with one such line; what is told beside is of no interest here.
        loop {
            let n_read = stdout.read(&mut buffer)?;
            ensure!(n_read > 0, "the control client has ended");
            told.extend_from_slice(&buffer[..n_read]);
            let mut lines = told.split(|byte| *byte == b'\n');
            ensure!(!lines.clone().any(|line| line.starts_with(b"%error")), "tmux refused {line}");
            if lines.any(|line| line.starts_with(b"%end") && told.ends_with(b"\n")) {
                return Ok(());
            }
        }
    }

    /// Reads what tmux tells until it has told `end`, and nothing or little after it; each piece is shown to `seen`.
    pub(crate) fn read_until(&mut self, end: &[u8], mut seen: impl FnMut(&[u8])) -> Result<()> {
        let stdout = self.child.stdout.as_mut().context("stdout is piped")?;
        let mut buffer = vec![0; 64 << 10];
        let mut tail = Vec::new();
        loop {
            let n_read = stdout.read(&mut buffer)?;
            ensure!(n_read > 0, "the control client has ended");
            seen(&buffer[..n_read]);
            tail.extend_from_slice(&buffer[n_read.saturating_sub(Self::NEAR_THE_END)..n_read]);
            tail.drain(..tail.len().saturating_sub(Self::NEAR_THE_END));
            if without_heads(&tail).windows(end.len()).any(|window| window == end) {
                return Ok(());
            }
        }
    }
}

/// Output as it came to tmux, which cuts it anywhere and puts each piece in a line behind `%output %N `.
fn without_heads(lines: &[u8]) -> Vec<u8> {
    let data = |line: &[u8]| -> Vec<u8> {
        let mut words = line.splitn(3, |byte| *byte == b' ');
        match (words.next(), words.next(), words.next()) {
            (Some(b"%output"), Some(_), Some(data)) => data.to_vec(),
            _ => line.to_vec(),
        }
    };
    lines.split(|byte| *byte == b'\n').flat_map(data).collect()
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tmux_has_cut_is_put_together() {
        let told = b"rest\\033[0m\n%output %3 end-of-\n%output %3 round-1.\\007";
        assert_eq!(without_heads(told), b"rest\\033[0mend-of-round-1.\\007");
    }
}
