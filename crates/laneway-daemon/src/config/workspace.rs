//! The settings of a repository: `laneway.toml` in its main worktree; for a bare repository in the folder that it is
//! in.

use std::path::Path;

use laneway_git::{DISPOSABLE_FOLDERS, LEAST_ROOM, MOST_IN_COMMIT, Rules};
use serde::Deserialize;
use serde_json::Value;

use super::file::{self, ConfigError};
use super::place::{BranchPattern, WorktreePattern};
use super::settings;
use super::size::Size;

/// The file's name.
pub const FILE_NAME: &str = "laneway.toml";

/// What a repository's owner has set; the rest as it is without a file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorkspaceConfig {
    /// Where worktrees are.
    pub worktree: WorktreePattern,
    /// What branches are called.
    pub branch: BranchPattern,
    /// The most open lanes.
    #[serde(deserialize_with = "max_lanes")]
    pub max_lanes: usize,
    /// How many trees are kept ready for lanes to come.
    #[serde(deserialize_with = "pool")]
    pub pool: usize,
    /// What must be free on the disk before a lane is made.
    pub least_free: Size,
    /// Names of ignored folders that are made again.
    #[serde(deserialize_with = "folder_names")]
    pub disposable: Vec<String>,
    /// How many days the tree of a rescue stays in the trash.
    #[serde(deserialize_with = "trash_days")]
    pub trash_days: u32,
    /// The largest file in the commit of a rescue.
    pub rescue_max: Size,
}

impl Default for WorkspaceConfig {
    fn default() -> Self {
        Self {
            worktree: WorktreePattern::default(),
            branch: BranchPattern::default(),
            max_lanes: 200,
            pool: 0,
            least_free: Size(LEAST_ROOM),
            disposable: DISPOSABLE_FOLDERS.iter().map(|name| (*name).to_owned()).collect(),
            trash_days: 7,
            rescue_max: Size(MOST_IN_COMMIT),
        }
    }
}

impl WorkspaceConfig {
    /// Reads the file of the repository whose main worktree this is; without one, everything is as it is by default.
    pub fn read(root: &Path) -> Result<Self, ConfigError> {
        let path = root.join(FILE_NAME);
        let text = file::read(&path)?.unwrap_or_default();
        file::parse(&text, &settings::keys()).map_err(|mistake| mistake.in_file(&path, &text))
    }

    /// What of it git is told.
    pub fn rules(&self) -> Rules {
        Rules {
            disposable: self.disposable.clone(),
            most_in_commit: self.rescue_max.0,
            least_room: self.least_free.0,
        }
    }
}

/// The file of a repository that has none, with every setting in it as a remark.
pub fn commented() -> String {
    settings::commented()
}

/// The JSON schema of the file, for editors.
pub fn schema() -> Value {
    settings::schema()
}

fn max_lanes<'de, D: serde::Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    bounded("max_lanes", 1..=10_000, i64::deserialize(from)?)
}

fn pool<'de, D: serde::Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    bounded("pool", 0..=64, i64::deserialize(from)?)
}

fn trash_days<'de, D: serde::Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    bounded("trash_days", 0..=3_650, i64::deserialize(from)?)
}

fn bounded<T: TryFrom<i64>, E: serde::de::Error>(
    key: &str,
    range: std::ops::RangeInclusive<i64>,
    value: i64,
) -> Result<T, E> {
    let number = if range.contains(&value) { T::try_from(value).ok() } else { None };
    let (least, most) = range.into_inner();
    number.ok_or_else(|| E::custom(format!("{key} is {value}: it can be {least} to {most}")))
}

fn folder_names<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let names = Vec::<String>::deserialize(from)?;
    let is_name = |name: &String| {
        !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\', '*', '?', '[', '\0'])
    };
    match names.iter().find(|name| !is_name(name)) {
        Some(wrong) => Err(serde::de::Error::custom(format!(
            "{wrong:?} is no name of a folder: names without / and wildcards, which count at any depth"
        ))),
        None => Ok(names),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<WorkspaceConfig, String> {
        let parsed = file::parse(text, &settings::keys());
        parsed.map_err(|mistake| {
            let (line, column) = file::place(text, mistake.at);
            format!("{line}:{column}: {}", mistake.message)
        })
    }

    #[test]
    fn what_is_set_counts_and_the_rest_is_as_without_a_file() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(WorkspaceConfig::read(folder.path()).unwrap(), WorkspaceConfig::default());
        std::fs::write(folder.path().join(FILE_NAME), "max_lanes = 3\nrescue_max = \"1 GiB\"\n").unwrap();
        let read = WorkspaceConfig::read(folder.path()).unwrap();
        assert_eq!((read.max_lanes, read.rescue_max, read.trash_days), (3, Size(1 << 30), 7));
        assert_eq!(read.rules().most_in_commit, 1 << 30);
        assert_eq!(WorkspaceConfig::default().rules(), Rules::default());
    }

    #[test]
    fn a_mistake_is_told_with_its_place_and_the_nearest_key() {
        #[track_caller]
        fn check(text: &str, place: &str, said: &str) {
            let mistake = parse(text).unwrap_err();
            assert!(mistake.starts_with(place) && mistake.contains(said), "{text:?}: {mistake}");
        }
        check("\nmaxlanes = 3", "2:1: ", "`maxlanes`; the nearest is `max_lanes`");
        check("worktree = \"{root}/lanes\"", "1:12: ", "no {lane} in its last part");
        check("branch = \"a b/{lane}\"", "1:10: ", "name of a branch");
        check("max_lanes = 0", "1:13: ", "1 to 10000");
        check("pool = 65", "1:8: ", "0 to 64");
        check("trash_days = -1", "1:14: ", "0 to 3650");
        check("least_free = \"1 MB\"", "1:14: ", "\"64 MiB\"");
        check("rescue_max = true", "1:14: ", "a size");
        check("disposable = [\"a/b\"]", "1:14: ", "names without /");
        check("disposable = \"target\"", "1:14: ", "sequence");
    }

    #[test]
    fn the_commented_file_is_one_and_sets_what_is_so_without_it() {
        assert_eq!(parse(&commented()).unwrap(), WorkspaceConfig::default());
        for line in commented().lines().filter(|line| line.contains(" = ")) {
            let line = line.strip_prefix("# ").unwrap();
            parse(line).unwrap_or_else(|mistake| panic!("{line}: {mistake}"));
        }
    }

    #[test]
    fn the_schema_knows_every_key_and_no_other() {
        let schema = schema();
        let known: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
        let mut keys = settings::keys();
        keys.sort_unstable();
        assert_eq!(known, keys);
        assert_eq!(schema["additionalProperties"], false);
    }
}
