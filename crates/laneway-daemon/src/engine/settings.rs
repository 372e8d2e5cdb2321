//! What a repository's owner has set: `laneway.toml` in its main worktree.

use std::fs::OpenOptions;
use std::io::{self, Write};

use laneway_api::error::{ErrorKind, Problem};
use laneway_core::os_text::OsText;
use laneway_core::workspace::Workspace;

use super::{Engine, Request, blocking};
use crate::config::workspace::{FILE_NAME, commented};
use crate::problem::failed_in_words;

impl Engine {
    /// Writes a file with every setting as a remark, where there is none.
    pub(crate) async fn write_settings(&self, cwd: &OsText, request: Request) -> Result<OsText, Problem> {
        let Workspace { root, .. } = self.workspace(cwd, request).await?;
        let path = root.as_path().join(FILE_NAME);
        blocking(move || {
            let written = OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(&path)
                .and_then(|mut file| file.write_all(commented().as_bytes()));
            match written {
                Ok(()) => Ok(path.as_path().into()),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    let message = format!("{} is there already, and was left as it is", path.display());
                    Err(Problem::new(ErrorKind::Refused, "settings_exist", message)
                        .hint(format!("$EDITOR {}", path.display())))
                }
                Err(error) => {
                    let message = format!("{} cannot be written: {error}", path.display());
                    Err(failed_in_words("settings_not_written", &error, message))
                }
            }
        })
        .await?
    }
}
