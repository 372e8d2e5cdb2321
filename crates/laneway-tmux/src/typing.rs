//! Typing into a pane: text that arrives byte for byte, and keys by name.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::error::TmuxError;
use crate::ids::PaneIdentity;
use crate::line::Line;
use crate::server::Server;
use crate::snapshot::PaneSeen;
use crate::windows::one_time_name;

/// A key that tmux has no name for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tmux knows no key {0:?}")]
pub struct NoSuchKey(pub String);

impl Server {
    /// Types text, every byte as it is. It goes through a file in this folder, which must be nobody else's.
    /// `bracketed`: as a paste, if the program has asked to be told of pastes.
    pub fn type_text(
        &self,
        pane: &PaneIdentity,
        text: &[u8],
        bracketed: bool,
        folder: &Path,
    ) -> Result<(), TmuxError> {
        self.verify(pane)?;
        if text.is_empty() {
            // tmux has no empty buffers.
            return Ok(());
        }
        let name = one_time_name()?;
        let path = folder.join(&name);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let written = file.write_all(text);
        let line = Line::new("load-buffer").args(["-b", &name]).literal(&path);
        let line = line.then("paste-buffer").args(["-d", "-r"]);
        let line = if bracketed { line.arg("-p") } else { line };
        let line = line.args(["-b", &name, "-t", &pane.pane.to_string()]);
        let typed = match written {
            Ok(()) => self.ask("paste-buffer", &line).map(drop),
            Err(error) => Err(error.into()),
        };
        if typed.is_err() {
            // It may not even be there.
            let _ = self.ask("delete-buffer", &Line::new("delete-buffer").args(["-b", &name]));
        }
        // It was ours alone; if it cannot be removed it goes with the folder.
        let _ = fs::remove_file(&path);
        typed
    }

    /// Presses keys, by tmux's names for them. A mode that a person has put the pane into (to scroll, say) is left:
    /// else the keys would go there. Refused while keys go to other panes as well, which text does not
    /// (`synchronize-panes`).
    pub fn press(&self, pane: &PaneIdentity, keys: &[TmuxKey]) -> Result<(), TmuxError> {
        self.verify_for_keys(pane)?;
        let target = pane.pane.to_string();
        let line = Line::new("copy-mode").args(["-q", "-t", &target]);
        let line = line.then("send-keys").args(["-t", &target, "--"]).args(keys.iter().map(|key| &key.0));
        self.ask("send-keys", &line).map(drop)
    }

    /// The pane that is meant, as it is now, if keys that are pressed in it go nowhere else.
    pub fn verify_for_keys(&self, pane: &PaneIdentity) -> Result<PaneSeen, TmuxError> {
        let snapshot = self.snapshot()?;
        let seen = snapshot.verify(pane)?;
        if seen.is_synchronized && snapshot.panes_of(seen.window).count() > 1 {
            return Err(TmuxError::Synchronized { pane: pane.pane });
        }
        Ok(seen.clone())
    }
}

/// A key, as tmux calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TmuxKey(String);

impl TmuxKey {
    /// The key that is called so everywhere else in Laneway: `ctrl-c`, `up`, `shift-f5`, `a`
    /// ([`laneway_wire::keys::KEY_NAMES`]).
    pub fn named(name: &str) -> Result<Self, NoSuchKey> {
        let none = || NoSuchKey(name.to_owned());
        let lower = name.to_ascii_lowercase();
        let (mut rest, mut modifiers) = (&lower[..], String::new());
        while let Some((prefix, letter)) = [("ctrl-", "C-"), ("alt-", "M-"), ("shift-", "S-")]
            .into_iter()
            .find(|(prefix, _)| rest.len() > prefix.len() && rest.starts_with(prefix))
        {
            modifiers.push_str(letter);
            rest = &rest[prefix.len()..];
        }
        let key = match rest {
            "up" => "Up",
            "down" => "Down",
            "right" => "Right",
            "left" => "Left",
            "home" => "Home",
            "end" => "End",
            "insert" => "IC",
            "delete" => "DC",
            "page-up" | "pageup" => "PPage",
            "page-down" | "pagedown" => "NPage",
            "escape" | "esc" => "Escape",
            "enter" | "return" => "Enter",
            "tab" if modifiers == "S-" => return Ok(Self("BTab".to_owned())),
            "tab" => "Tab",
            "backspace" => "BSpace",
            "space" => "Space",
            _ => {
                let is_function =
                    rest.strip_prefix('f').is_some_and(|n| (1..=12).any(|f| n == f.to_string()));
                if is_function {
                    return Ok(Self(format!("{modifiers}{}", rest.to_ascii_uppercase())));
                }
                // A character: as it was written, for A is not a.
                let character = &name[name.len() - rest.len()..];
                if character.chars().count() != 1 || character.chars().any(char::is_control) {
                    return Err(none());
                }
                return Ok(Self(format!("{modifiers}{character}")));
            }
        };
        Ok(Self(format!("{modifiers}{key}")))
    }
}

#[cfg(test)]
mod tests {
    use laneway_wire::keys::KEY_NAMES;

    use super::*;

    #[test]
    fn every_key_of_laneways_has_a_name_of_tmuxs() {
        for name in KEY_NAMES {
            assert!(TmuxKey::named(name).is_ok(), "{name}");
        }
        for (name, key) in [
            ("ctrl-c", "C-c"),
            ("Ctrl-Alt-Up", "C-M-Up"),
            ("shift-tab", "BTab"),
            ("f12", "F12"),
            ("A", "A"),
            ("alt-ß", "M-ß"),
            ("ctrl--", "C--"),
        ] {
            assert_eq!(TmuxKey::named(name), Ok(TmuxKey(key.to_owned())), "{name}");
        }
        for name in ["", "f13", "f0", "ab", "\n", "ctrl-", "hyper-x"] {
            assert!(TmuxKey::named(name).is_err(), "{name}");
        }
    }
}
