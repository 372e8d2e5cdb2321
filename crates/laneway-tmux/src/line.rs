//! One line for the control connection: commands with their arguments, quoted so that tmux reads every byte as it is.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Commands that tmux carries out one after the other without doing anything in between; the first that fails is the
/// last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Line {
    text: Vec<u8>,
    n_commands: usize,
}

impl Line {
    /// A line that begins with this command.
    pub(crate) fn new(command: &'static str) -> Self {
        Self::default().then(command)
    }

    /// The next command.
    pub(crate) fn then(mut self, command: &'static str) -> Self {
        if self.n_commands > 0 {
            self.text.extend_from_slice(b" ; ");
        }
        self.text.extend_from_slice(command.as_bytes());
        self.n_commands += 1;
        self
    }

    /// An argument, whatever is in it.
    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.text.push(b' ');
        quote(argument.as_ref().as_bytes(), &mut self.text);
        self
    }

    /// Several arguments.
    pub(crate) fn args(self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        arguments.into_iter().fold(self, Line::arg)
    }

    /// An argument that tmux would expand as a format.
    pub(crate) fn literal(self, argument: impl AsRef<OsStr>) -> Self {
        self.arg(OsStr::from_bytes(&without_format(argument.as_ref().as_bytes())))
    }

    /// A command for the shell that ends with a path, where tmux would expand formats and times in it.
    pub(crate) fn shell_command(self, command: &str, path: &Path) -> Self {
        let mut text = command.as_bytes().to_owned();
        text.push(b'\'');
        for byte in path.as_os_str().as_bytes() {
            match byte {
                b'\'' => text.extend_from_slice(b"'\\''"),
                b'%' => text.extend_from_slice(b"%%"),
                other => text.push(*other),
            }
        }
        text.push(b'\'');
        self.literal(OsStr::from_bytes(&text))
    }

    /// What tmux reads.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        [&self.text[..], b"\n"].concat()
    }

    /// How many replies it gets if all goes well.
    pub(crate) fn n_commands(&self) -> usize {
        self.n_commands
    }
}

/// In single quotes tmux takes every byte as it is; a quote, and what would end the line, goes into double quotes.
fn quote(argument: &[u8], into: &mut Vec<u8>) {
    into.push(b'\'');
    for byte in argument {
        match byte {
            b'\'' => into.extend_from_slice(b"'\"'\"'"),
            b'\n' => into.extend_from_slice(b"'\"\\n\"'"),
            b'\r' => into.extend_from_slice(b"'\"\\r\"'"),
            // No argument of a program can hold it.
            0 => {}
            other => into.push(*other),
        }
    }
    into.push(b'\'');
}

/// The same text as a format that expands to it: `#` is doubled, but where `[` follows, before which tmux leaves every
/// `#` as it is.
fn without_format(text: &[u8]) -> Vec<u8> {
    let mut format = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| *byte == b'#') {
        let n = rest[at..].iter().take_while(|byte| **byte == b'#').count();
        format.extend_from_slice(&rest[..at + n]);
        rest = &rest[at + n..];
        if rest.first() != Some(&b'[') {
            format.extend(std::iter::repeat_n(b'#', n));
        }
    }
    format.extend_from_slice(rest);
    format
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_an_argument_can_end_it() {
        let line = Line::new("new-window").arg("-d").arg("it's;\n$HOME").then("kill-pane");
        assert_eq!(line.bytes(), b"new-window '-d' 'it'\"'\"'s;'\"\\n\"'$HOME' ; kill-pane\n");
        assert_eq!(line.n_commands(), 2);
    }

    #[test]
    fn a_number_sign_stays_one() {
        for (text, format) in
            [("a#b", "a##b"), ("#{pid}", "##{pid}"), ("##", "####"), ("#[x]##[y]#", "#[x]##[y]##")]
        {
            assert_eq!(without_format(text.as_bytes()), format.as_bytes(), "{text}");
        }
    }
}
