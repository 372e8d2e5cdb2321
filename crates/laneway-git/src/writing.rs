//! What decides, beside the commit, how git writes a tree's files: settings, and the attributes that are not in the
//! commit. A tree that was made ahead is what a checkout gives only as long as this is the same.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};

use crate::admin::AdminFolder;
use crate::repository::Repository;
use crate::run::RunError;

/// The settings that count begin with one of these. One too many costs a tree that is made again, one too few a lane
/// with other files than it should have: so programs that filters are known to be have theirs here, too.
const COUNT: [&str; 4] = ["attr.", "core.", "filter.", "lfs."];

/// Files of the repository that count: with attributes, and those that git copies for a new worktree.
const OF_REPOSITORY: [&str; 3] = ["info/attributes", "info/sparse-checkout", "config.worktree"];

/// Where git has the machine's attributes, unless it was built to have them elsewhere.
const OF_MACHINE: &str = "/etc/gitattributes";

impl Repository {
    /// A digest of it all, as it is now.
    pub(crate) fn way_of_writing(&self) -> Result<String, RunError> {
        let said = self.run("git config --list").reads().args(["config", "--null", "--list"]).succeed()?;
        let mut hasher = DefaultHasher::new();
        let mut attributes = None;
        for setting in said.split(|byte| *byte == 0) {
            if COUNT.iter().any(|start| setting.starts_with(start.as_bytes())) {
                setting.hash(&mut hasher);
            }
            if let Some(path) = setting.strip_prefix(b"core.attributesfile\n") {
                attributes = Some(String::from_utf8_lossy(path).into_owned());
            }
        }
        let of_repository = OF_REPOSITORY.iter().map(|file| self.common_dir().join(file));
        for file in of_repository.chain(self.owners_attributes(attributes)).chain([OF_MACHINE.into()]) {
            // One that cannot be read is none for git either.
            std::fs::read(file).ok().hash(&mut hasher);
        }
        Ok(format!("{:016x}", hasher.finish()))
    }

    /// The file with the attributes that the owner has for all repositories. None: there can be none.
    fn owners_attributes(&self, set: Option<String>) -> Option<PathBuf> {
        let variable =
            |name| self.git().environment().get(name).filter(|path| !path.is_empty()).map(Path::new);
        let Some(set) = set else {
            let folder = variable("XDG_CONFIG_HOME").map(Path::to_owned);
            let folder = folder.or_else(|| Some(variable("HOME")?.join(".config")))?;
            return Some(folder.join("git/attributes"));
        };
        match set.strip_prefix("~/") {
            Some(below) => Some(variable("HOME")?.join(below)),
            None => Some(self.root().join(set)),
        }
    }

    /// Whether a checkout would write the tree's files as they were written when it was made.
    pub(crate) fn is_written_as_now(&self, admin: &AdminFolder) -> Result<bool, RunError> {
        let noted = std::fs::read_to_string(noted_in(admin)).unwrap_or_default();
        Ok(noted == self.way_of_writing()?)
    }
}

/// Keeps with the tree how its files are about to be written.
pub(crate) fn note(admin: &AdminFolder, way: &str) -> io::Result<()> {
    std::fs::write(noted_in(admin), way)
}

/// The tree is a lane's now, whose files are its own.
pub(crate) fn forget(admin: &AdminFolder) {
    // Of no use there, and in nobody's way.
    let _ = std::fs::remove_file(noted_in(admin));
}

fn noted_in(admin: &AdminFolder) -> PathBuf {
    admin.folder.join("laneway-written")
}
