//! Repositories inside of a tree, in folders that have tracked files too: of those git says nothing.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::index::Index;
use crate::repository::Repository;

const GIT: &str = ".git";

/// Whether an entry of a folder of the tree makes a repository of that folder.
pub(crate) fn is_repository(folder: &Path, name: &OsStr) -> bool {
    name == GIT && !folder.as_os_str().is_empty()
}

/// Those of the folders that are neither in a submodule nor in another repository's own folder.
pub(crate) fn outside_of_submodules(mut folders: Vec<PathBuf>, index: &Index) -> Vec<PathBuf> {
    folders.retain(|folder| {
        let is_in_submodule = index.submodules.iter().any(|entry| folder.starts_with(&entry.path));
        !is_in_submodule && folder.iter().all(|name| name != GIT)
    });
    folders
}

impl Repository {
    /// The folders in a tree that are repositories, but for those in folders that can be made again. What cannot be
    /// looked into is told of by git.
    pub(crate) fn repositories_inside(&self, tree: &Path, index: &Index) -> Vec<PathBuf> {
        let (mut found, mut waiting) = (Vec::new(), vec![PathBuf::new()]);
        while let Some(folder) = waiting.pop() {
            for entry in std::fs::read_dir(tree.join(&folder)).into_iter().flatten().flatten() {
                let (name, inside) = (entry.file_name(), folder.join(entry.file_name()));
                if name == GIT {
                    if is_repository(&folder, &name) {
                        found.push(folder.clone());
                    }
                } else if entry.file_type().is_ok_and(|kind| kind.is_dir())
                    && (!self.rules().is_name_of_disposable(&name) || index.project_folders.contains(&inside))
                {
                    waiting.push(inside);
                }
            }
        }
        outside_of_submodules(found, index)
    }
}
