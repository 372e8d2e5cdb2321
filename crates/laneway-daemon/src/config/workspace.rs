//! The settings of a repository: `laneway.toml` in its main worktree; for a bare repository in the folder that it is
//! in, or without one there in the commit of its HEAD.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use laneway_core::channel::ChannelKind;
use laneway_core::duration;
use laneway_core::limits::RunLimits;
use laneway_core::supervise::RestartPolicy;
use laneway_git::{DISPOSABLE_FOLDERS, LEAST_ROOM, MOST_IN_COMMIT, Rules, hash_of_bytes};
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
    /// Patterns of untracked files that new lanes get copies of.
    #[serde(deserialize_with = "paths")]
    pub copy: Vec<String>,
    /// Paths that new lanes get links to.
    #[serde(deserialize_with = "paths")]
    pub link: Vec<String>,
    /// Submodules are checked out in new lanes.
    pub submodules: bool,
    /// What is run in new lanes.
    #[serde(deserialize_with = "steps")]
    pub steps: Vec<Step>,
    /// The program that is started where none is given.
    pub program: Option<String>,
    /// Programs, by their names.
    #[serde(deserialize_with = "programs")]
    pub programs: BTreeMap<String, Program>,
}

/// A program that is started in lanes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// Program and arguments; never empty.
    pub command: Vec<String>,
    /// When it is started again.
    #[serde(default = "usual_restart")]
    pub restart: RestartPolicy,
    /// Exit codes that mean that its work is done; 0 always does.
    #[serde(default)]
    pub done_codes: Vec<u8>,
    /// The channel that it is given.
    #[serde(default)]
    pub channel: Option<ChannelKind>,
    /// Where its instances work.
    #[serde(default)]
    pub isolation: Isolation,
    /// How long a run of it may take.
    #[serde(default, deserialize_with = "limit")]
    pub limit_wall: Option<NonZeroU64>,
    /// How long it may be idle.
    #[serde(default, deserialize_with = "limit")]
    pub limit_idle: Option<NonZeroU64>,
}

/// Where instances of a program work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// Each in a lane of its own.
    #[default]
    Lane,
    /// In the main worktree itself, all of them.
    None,
}

impl Program {
    /// What each of its runs is limited to.
    pub const fn limits(&self) -> RunLimits {
        RunLimits { wall_ms: self.limit_wall, idle_ms: self.limit_idle }
    }
}

/// What is run in a new lane.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What it is called.
    pub name: String,
    /// Program and arguments; never empty.
    pub command: Vec<String>,
    /// How long it may take.
    #[serde(default = "usual_timeout", deserialize_with = "timeout")]
    pub timeout: Duration,
    /// Variables beside those of the caller.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

/// A piece of the setup of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Files are copied and linked.
    Files,
    /// Submodules are checked out.
    Submodules,
    /// A step is run.
    Step(&'a Step),
}

/// A repository's settings with the text that they come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkspaceFile {
    /// What is set.
    pub config: WorkspaceConfig,
    /// Where the text is: a path, for people.
    pub path: PathBuf,
    /// What tells this text from any other: `sha256:` and the hash in hexadecimal digits.
    pub content: String,
    /// The program that is meant where none is named: the one called `orchestrator`, else the first in the text.
    pub first_program: Option<String>,
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
            copy: Vec::new(),
            link: Vec::new(),
            submodules: false,
            steps: Vec::new(),
            program: None,
            programs: BTreeMap::new(),
        }
    }
}

impl WorkspaceConfig {
    /// Reads the file of the repository whose main worktree this is; without one, everything is as it is by default.
    pub fn read(root: &Path) -> Result<Self, ConfigError> {
        WorkspaceFile::read(root).map(|file| file.config)
    }

    /// The pieces of the setup of a lane, in their order.
    pub fn pieces(&self) -> Vec<Piece<'_>> {
        let has_files = !self.copy.is_empty() || !self.link.is_empty();
        let files = has_files.then_some(Piece::Files);
        let submodules = self.submodules.then_some(Piece::Submodules);
        files.into_iter().chain(submodules).chain(self.steps.iter().map(Piece::Step)).collect()
    }

    /// The program that is started where none is given: the one that `program` names, or the only one there is.
    pub fn default_program(&self) -> Option<&Program> {
        match (&self.program, self.programs.len()) {
            (Some(name), _) => self.programs.get(name),
            (None, 1) => self.programs.values().next(),
            (None, _) => None,
        }
    }

    /// Whether something of it needs the consent of a person: it runs or touches something that git did not bring,
    /// puts lanes outside of the main worktree, or has more deleted with a lane than is without a file.
    pub fn needs_consent(&self, root: &Path) -> bool {
        !self.pieces().is_empty()
            || !self.programs.is_empty()
            || self.worktree.is_elsewhere(root)
            || self.own_disposable().next().is_some()
    }

    /// Names of folders that only this file calls disposable.
    pub fn own_disposable(&self) -> impl Iterator<Item = &String> {
        self.disposable.iter().filter(|name| !DISPOSABLE_FOLDERS.contains(&name.as_str()))
    }

    /// What of it git is told.
    pub fn rules(&self, is_trusted: bool) -> Rules {
        let mut disposable = self.disposable.clone();
        disposable.retain(|name| is_trusted || DISPOSABLE_FOLDERS.contains(&name.as_str()));
        Rules { disposable, most_in_commit: self.rescue_max.0, least_room: self.least_free.0 }
    }
}

impl WorkspaceFile {
    /// Reads the file of the repository whose main worktree this is; one that is not there is an empty one.
    pub fn read(root: &Path) -> Result<Self, ConfigError> {
        match Self::find(root)? {
            Some(found) => Ok(found),
            None => Self::of_text(root.join(FILE_NAME), ""),
        }
    }

    /// The same; None if it is not there.
    pub fn find(root: &Path) -> Result<Option<Self>, ConfigError> {
        let path = root.join(FILE_NAME);
        let text = file::read(&path)?;
        text.map(|text| Self::of_text(path, &text)).transpose()
    }

    /// What a text sets that is found at this path.
    pub fn of_text(path: PathBuf, text: &str) -> Result<Self, ConfigError> {
        let config: WorkspaceConfig =
            file::parse(text, &settings::keys()).map_err(|mistake| mistake.in_file(&path, text))?;
        if let Some(name) = config.program.as_ref().filter(|name| !config.programs.contains_key(*name)) {
            let at = text.find("program").unwrap_or(0);
            let message = format!("there is no [programs.{name}], which program = {name:?} is to start");
            return Err(file::Mistake { at, message }.in_file(&path, text));
        }
        let content = format!("sha256:{}", hash_of_bytes(text.as_bytes()));
        let called_so = Some("orchestrator".to_owned()).filter(|name| config.programs.contains_key(name));
        let first_program = called_so.or_else(|| file::first_key(text, "programs"));
        Ok(Self { config, path, content, first_program })
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

const fn usual_restart() -> RestartPolicy {
    RestartPolicy::OnFailure
}

fn programs<'de, D: serde::Deserializer<'de>>(from: D) -> Result<BTreeMap<String, Program>, D::Error> {
    let programs = BTreeMap::<String, Program>::deserialize(from)?;
    let is_command = |words: &Vec<String>| {
        words.first().is_some_and(|word| !word.is_empty()) && !words.iter().any(|word| word.contains('\0'))
    };
    match programs.iter().find(|(_, program)| !is_command(&program.command)) {
        Some((name, _)) => Err(serde::de::Error::custom(format!(
            "program {name:?} has no command: [\"program\", \"argument\"]"
        ))),
        None => Ok(programs),
    }
}

const fn usual_timeout() -> Duration {
    Duration::from_mins(30)
}

fn timeout<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    match duration::parse(&text).map_err(serde::de::Error::custom)? {
        Duration::ZERO => Err(serde::de::Error::custom("a step needs some time: its timeout is 0")),
        timeout => Ok(timeout),
    }
}

/// Milliseconds.
fn limit<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<NonZeroU64>, D::Error> {
    let text = String::deserialize(from)?;
    let limit = duration::parse_some(&text).map_err(serde::de::Error::custom)?;
    Ok(NonZeroU64::new(duration::millis(limit)))
}

/// Paths and patterns from the main worktree, which lead nowhere else.
fn paths<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let paths = Vec::<String>::deserialize(from)?;
    let stays_inside = |path: &String| {
        let is_plain = |part: std::path::Component<'_>| match part {
            std::path::Component::Normal(part) => !part.eq_ignore_ascii_case(".git"),
            _ => false,
        };
        !path.is_empty() && !path.contains('\0') && Path::new(path).components().all(is_plain)
    };
    match paths.iter().find(|path| !stays_inside(path)) {
        Some(wrong) => Err(serde::de::Error::custom(format!(
            "{wrong:?} does not stay in the worktree: paths are relative to its root, without .. and .git"
        ))),
        None => Ok(paths),
    }
}

fn steps<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<Step>, D::Error> {
    let steps = Vec::<Step>::deserialize(from)?;
    for (index, step) in steps.iter().enumerate() {
        let wrong = |what: &str| Err(serde::de::Error::custom(format!("step {:?} {what}", step.name)));
        if step.name.trim().is_empty() || step.name.len() > 64 || step.name.contains(char::is_control) {
            return wrong("has no name of 1 to 64 characters");
        }
        if steps[..index].iter().any(|other| other.name == step.name) {
            return wrong("is there twice");
        }
        if step.command.first().is_none_or(String::is_empty)
            || step.command.iter().any(|word| word.contains('\0'))
        {
            return wrong("has no command: [\"program\", \"argument\"]");
        }
        let is_name = |name: &String| !name.is_empty() && !name.contains(['=', '\0']);
        if !step.env.iter().all(|(name, value)| is_name(name) && !value.contains('\0')) {
            return wrong("has an impossible variable in its env");
        }
    }
    Ok(steps)
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
        assert_eq!(read.rules(true).most_in_commit, 1 << 30);
        assert_eq!(WorkspaceConfig::default().rules(true), Rules::default());
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
        for wrong in ["../x", "/etc/passwd", "a/../../b", "", ".git/config", "x/.GIT/hooks", "."] {
            check(&format!("copy = [\"{wrong}\"]"), "1:8: ", "does not stay in the worktree");
            check(&format!("link = [\"{wrong}\"]"), "1:8: ", "does not stay in the worktree");
        }
        check(
            "[[steps]]\nname = \"a\"\ncomand = [\"x\"]",
            "3:1: ",
            "`steps.comand`; the nearest is `steps.command`",
        );
        check(
            "[programs.a]\ncomand = []",
            "2:1: ",
            "`programs.a.comand`; the nearest is `programs.NAME.command`",
        );
        check("[programs.a]\ncommand = []", "", "has no command");
        check("[programs.a]\ncommand = [\"x\"]\nrestart = \"often\"", "3:11: ", "on-failure");
        check("[programs.a]\ncommand = [\"x\"]\nlimit_wall = \"0s\"", "3:14: ", "0s is no limit");
        check("[steps]\nname = \"a\"", "1:1: ", "[[steps]]");
        check("steps = [1]", "1:10: ", "[[steps]]");
        check("[[steps]]\nname = \"a\"\ncommand = []", "", "has no command");
        check("[[steps]]\nname = \"a\"\ncommand = \"make\"", "3:11: ", "sequence");
        check("[[steps]]\nname = \"a\"", "1:1: ", "missing field `command`");
        check("[[steps]]\nname = \"\"\ncommand = [\"x\"]", "", "has no name");
        let twice = "[[steps]]\nname = \"a\"\ncommand = [\"x\"]\n";
        check(&twice.repeat(2), "", "\"a\" is there twice");
        check(
            "[[steps]]\nname = \"a\"\ncommand = [\"x\"]\ntimeout = \"soon\"",
            "4:11: ",
            "no duration".trim_start_matches("no "),
        );
    }

    #[test]
    fn the_commented_file_is_one_and_sets_what_is_so_without_it() {
        assert_eq!(parse(&super::commented()).unwrap(), WorkspaceConfig::default());
        let commented = commented();
        let lines = commented.lines().filter(|line| line.contains(" = ") || line.starts_with("# ["));
        let lines: Vec<&str> = lines.map(|line| line.strip_prefix("# ").unwrap()).collect();
        let uncommented = lines.join(
            "
",
        );
        let all = parse(&uncommented).unwrap_or_else(|mistake| panic!("{mistake}\n{uncommented}"));
        assert_eq!((all.copy.len(), all.link.len(), all.steps[0].name.as_str()), (2, 1, "deps"));
        assert_eq!(all.steps[0].timeout, usual_timeout());
        assert_eq!(all.default_program().unwrap().command, ["claude"]);
        let (program, programs) = (None, BTreeMap::new());
        let without = WorkspaceConfig { copy: vec![], link: vec![], steps: vec![], program, programs, ..all };
        assert_eq!(without, WorkspaceConfig::default(), "what is so without it");
    }

    #[test]
    fn the_schema_knows_every_key_and_no_other() {
        let schema = schema();
        let known: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
        let first = |key: &&str| key.split(['.', '[']).next().unwrap().to_owned();
        let mut keys: Vec<String> = settings::keys().iter().map(first).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(known, keys.iter().collect::<Vec<_>>());
        let of_steps = &schema["properties"]["steps"]["items"];
        assert_eq!(of_steps["properties"].as_object().unwrap().len(), 4, "{of_steps}");
        assert_eq!(of_steps["additionalProperties"], false);
        let of_programs = &schema["properties"]["programs"]["additionalProperties"];
        assert_eq!(of_programs["properties"].as_object().unwrap().len(), 7, "{of_programs}");
        assert_eq!(schema["additionalProperties"], false);
    }
}
