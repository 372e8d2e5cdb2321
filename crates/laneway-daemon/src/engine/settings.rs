//! What a repository's owner has set: `laneway.toml` in its main worktree, and whether a person has agreed to it.
//!
//! Consent is for a text, by its hash: the next change asks again, and going back to a text that was agreed to does not.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use laneway_api::error::{ErrorKind, Problem};
use laneway_api::view::{SettingsView, StepView};
use laneway_core::os_text::OsText;
use laneway_core::workspace::Workspace;

use super::{Engine, Request, blocking};
use crate::config::workspace::{FILE_NAME, WorkspaceFile, commented};
use crate::files::write_whole;
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

    /// What of the settings of the repository that `cwd` is in needs consent, and whether it has it.
    pub(crate) async fn settings_to_trust(
        &self,
        cwd: &OsText,
        request: Request,
    ) -> Result<SettingsView, Problem> {
        let workspace = self.workspace(cwd, request).await?;
        let (_, file) = self.ruled_repository(&workspace).await?;
        self.settings_view(&workspace, file).await
    }

    async fn settings_view(
        &self,
        workspace: &Workspace,
        file: WorkspaceFile,
    ) -> Result<SettingsView, Problem> {
        let root = workspace.root.as_path();
        let config = &file.config;
        Ok(SettingsView {
            path: file.path.as_path().into(),
            trusted: self.has_consent(workspace, &file.content).await?,
            needs_consent: config.needs_consent(root),
            worktree: config.worktree.is_elsewhere(root).then(|| config.worktree.to_string()),
            disposable: config.own_disposable().cloned().collect(),
            copy: config.copy.clone(),
            link: config.link.clone(),
            steps: config
                .steps
                .iter()
                .map(|step| StepView {
                    name: step.name.clone(),
                    command: step.command.clone(),
                    timeout_ms: laneway_core::duration::millis(step.timeout),
                    env: step.env.clone(),
                })
                .collect(),
            submodules: config.submodules,
            programs: config
                .programs
                .iter()
                .map(|(name, program)| (name.clone(), program.command.clone()))
                .collect(),
            content: file.content,
        })
    }

    /// A person agrees to the settings of this content, or does not any more.
    pub(crate) async fn trust(
        &self,
        cwd: &OsText,
        content: &str,
        trusted: bool,
        request: Request,
    ) -> Result<SettingsView, Problem> {
        let workspace = self.workspace(cwd, request).await?;
        let (_, file) = self.ruled_repository(&workspace).await?;
        if file.content != content {
            let message = format!("{FILE_NAME} has changed since it was shown");
            return Err(Problem::new(ErrorKind::Refused, "changed_meanwhile", message).hint("lane trust"));
        }
        let (engine, path, content) = (self.clone(), self.consents_path(&workspace), content.to_owned());
        let recorded = blocking(move || {
            // Whoever else agrees to something at this moment reads what is written here.
            let _one_after_the_other = engine.consents.lock().unwrap_or_else(PoisonError::into_inner);
            let mut consents = read_consents(&path).map_err(consents_unreadable)?;
            consents.retain(|known| *known != content);
            consents.extend(trusted.then_some(content));
            let text: String = consents.iter().flat_map(|line| [line, "\n"]).collect();
            write_whole(&path, text.as_bytes()).map_err(|error| {
                let message = format!("that cannot be recorded: {error}");
                failed_in_words("consent_not_recorded", &error, message)
            })
        });
        recorded.await??;
        self.settings_view(&workspace, file).await
    }

    /// Whether what this file of settings wants is agreed to.
    pub(super) async fn is_trusted(
        &self,
        workspace: &Workspace,
        file: &WorkspaceFile,
    ) -> Result<bool, Problem> {
        let needs_consent = file.config.needs_consent(workspace.root.as_path());
        Ok(!needs_consent || self.has_consent(workspace, &file.content).await?)
    }

    /// Refuses what needs consent and does not have it.
    pub(super) async fn refuse_untrusted(
        &self,
        workspace: &Workspace,
        file: &WorkspaceFile,
        what: &str,
    ) -> Result<(), Problem> {
        if self.is_trusted(workspace, file).await? {
            return Ok(());
        }
        Err(not_trusted(what))
    }

    async fn has_consent(&self, workspace: &Workspace, content: &str) -> Result<bool, Problem> {
        Ok(self.consents(workspace).await?.iter().any(|known| known == content))
    }

    async fn consents(&self, workspace: &Workspace) -> Result<Vec<String>, Problem> {
        let path = self.consents_path(workspace);
        blocking(move || read_consents(&path)).await?.map_err(consents_unreadable)
    }

    fn consents_path(&self, workspace: &Workspace) -> PathBuf {
        self.home.trust().join(workspace.id.to_string())
    }
}

/// What needs consent and does not have it.
pub(super) fn not_trusted(what: &str) -> Problem {
    let message = format!("{FILE_NAME} is not trusted as it is now: {what} needs your consent");
    Problem::new(ErrorKind::Refused, "not_trusted", message).hint("lane trust shows it and agrees to it")
}

#[expect(clippy::needless_pass_by_value, reason = "it is what an error is mapped by")]
fn consents_unreadable(error: io::Error) -> Problem {
    let message = format!("what you have agreed to cannot be read: {error}");
    failed_in_words("consent_unreadable", &error, message)
}

fn read_consents(path: &Path) -> io::Result<Vec<String>> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        read => read?,
    };
    Ok(text.lines().map(str::to_owned).collect())
}
