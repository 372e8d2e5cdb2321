//! What a lane has done: everything of it, and nothing of what is not its own; and the tree is only looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File, FileTimes};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use laneway_git::{Diff, DiffError, DiffFile, DiffStatus, DiffText, TreeRecord, TreeToDiff};

use crate::world::{World, script};

fn scratch(world: &World) -> PathBuf {
    let scratch = world.path("scratch");
    fs::create_dir_all(&scratch).unwrap();
    scratch
}

fn try_diff(world: &World, record: &TreeRecord, base_ref: &str) -> Result<Diff, DiffError> {
    let scratch = scratch(world);
    let (path, base_commit) = (record.path.as_path(), &record.base_commit);
    world.repository().diff(&TreeToDiff { path, base_ref, base_commit, scratch: &scratch })
}

fn diff(world: &World, record: &TreeRecord) -> Diff {
    try_diff(world, record, "main").unwrap()
}

fn files(world: &World, record: &TreeRecord) -> Vec<DiffFile> {
    diff(world, record).files().unwrap()
}

/// A path, what became of it, and how many lines are new and gone, if it has lines.
type Told<'a> = (&'a [u8], DiffStatus, Option<(u64, u64)>);

fn told(files: &[DiffFile]) -> Vec<Told<'_>> {
    files
        .iter()
        .map(|file| (file.path.as_os_str().as_bytes(), file.status, file.added.zip(file.removed)))
        .collect()
}

fn text(diff: &Diff, how: &DiffText) -> String {
    let mut text = Vec::new();
    diff.text(how, &mut |bytes| text.extend_from_slice(bytes)).unwrap();
    String::from_utf8_lossy(&text).into_owned()
}

/// Every file of git's entry for a tree, with its content and its time. (The time of the shared part of an index
/// is when it was last read.)
type Entry = BTreeMap<String, (Vec<u8>, Option<SystemTime>)>;

fn entry_of(world: &World, tree: &Path) -> Entry {
    let admin = PathBuf::from(world.run(tree, &["rev-parse", "--absolute-git-dir"]));
    let entries = fs::read_dir(admin).unwrap().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file()).map(|entry| {
        let name = entry.file_name().into_string().unwrap();
        let modified = entry.metadata().unwrap().modified().unwrap();
        let modified = (!name.starts_with("sharedindex.")).then_some(modified);
        (name, (fs::read(entry.path()).unwrap(), modified))
    });
    files.collect()
}

/// That it is as it was, said by the names of the files that are not.
#[track_caller]
fn entry_is_as_before(world: &World, tree: &Path, before: &Entry) {
    let now = entry_of(world, tree);
    let names = before.keys().chain(now.keys());
    let others: BTreeSet<&String> = names.filter(|name| before.get(*name) != now.get(*name)).collect();
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn committed_staged_changed_and_untracked_work_is_all_told_and_the_index_is_left_alone() {
    let world = World::new();
    for (file, content) in
        [("kept", "some\nlines\nof\ntext\n"), ("gone", "p\nq\nr\ns\n"), ("moved", "a\nb\n")]
    {
        world.commit(&world.root(), file, content);
    }
    world.commit(&world.root(), ".gitignore", "ignored\n");
    fs::write(world.root().join("binary"), "a\0b").unwrap();
    world.run(&world.root(), &["add", "binary"]);
    world.run(&world.root(), &["commit", "--quiet", "-m", "binary"]);
    let record = world.lane("x");
    let tree = &record.path;
    world.commit(tree, "committed", "1\n2\n");
    fs::write(tree.join("staged"), "1\n").unwrap();
    world.run(tree, &["add", "staged"]);
    world.run(tree, &["mv", "moved", "there"]);
    fs::write(tree.join("kept"), "some\nother\nlines\nof\ntext\n").unwrap();
    fs::write(tree.join("binary"), "a\0c").unwrap();
    fs::remove_file(tree.join("gone")).unwrap();
    fs::write(tree.join("ignored"), "x").unwrap();
    fs::create_dir(tree.join("new")).unwrap();
    fs::write(tree.join("new/file"), "1\n2\n3\n").unwrap();
    let odd = OsStr::from_bytes(b"od\xffd \"na\nme\"*?[");
    fs::write(tree.join(odd), "no newline").unwrap();
    world.run(tree, &["init", "--quiet", "nested"]);
    fs::write(tree.join("nested/file"), "x").unwrap();
    let before = entry_of(&world, tree);

    let found = diff(&world, &record);
    assert_eq!((found.base(), found.head()), (&record.base_commit, Some(&world.tip(tree, "HEAD"))));
    let files = found.files().unwrap();
    let expected: [Told<'_>; 9] = [
        (b"binary", DiffStatus::Modified, None),
        (b"committed", DiffStatus::Added, Some((2, 0))),
        (b"gone", DiffStatus::Deleted, Some((0, 4))),
        (b"kept", DiffStatus::Modified, Some((1, 0))),
        (b"new/file", DiffStatus::Untracked, Some((3, 0))),
        (odd.as_bytes(), DiffStatus::Untracked, Some((1, 0))),
        (b"staged", DiffStatus::Added, Some((1, 0))),
        (b"there", DiffStatus::Renamed, Some((0, 0))),
        (b"nested/", DiffStatus::Repository, None),
    ];
    assert_eq!(told(&files), expected);
    assert_eq!(files[7].old_path.as_deref(), Some(Path::new("moved")));
    let patch = text(&found, &DiffText::default());
    assert!(patch.contains("+++ b/new/file") && patch.contains("rename to there"), "{patch}");
    assert!(!patch.contains("ignored\n+") && !patch.contains('\u{1b}'), "{patch}");
    let stat = text(&found, &DiffText { stat: true, ..DiffText::default() });
    assert!(stat.contains("8 files changed"), "{stat}");
    drop(found);
    entry_is_as_before(&world, tree, &before);
    assert!(world.run(tree, &["status", "--porcelain"]).contains("?? new/"), "nothing was added to it");
    assert_eq!(fs::read_dir(scratch(&world)).unwrap().count(), 0);
}

#[test]
fn what_the_base_has_done_since_is_not_the_lanes_own() {
    let world = World::new();
    let record = world.lane("x");
    world.commit(&record.path, "own", "1\n");
    world.commit(&world.root(), "others", "1\n");
    let own = |files: &[DiffFile]| {
        assert_eq!(told(files), [(&b"own"[..], DiffStatus::Added, Some((1, 0)))]);
    };
    own(&files(&world, &record));
    world.run(&record.path, &["rebase", "--quiet", "main"]);
    own(&files(&world, &record));
    assert_eq!(diff(&world, &record).base(), &world.tip(&world.root(), "main"));
    world.commit(&world.root(), "more", "1\n");
    world.run(&record.path, &["merge", "--quiet", "--no-edit", "main"]);
    own(&files(&world, &record));
    // Told as a commit the base does not move.
    let base = record.base_commit.as_str().to_owned();
    assert_eq!(try_diff(&world, &record, &base).unwrap().files().unwrap().len(), 3);
    // Once it is all in the base, there is nothing more.
    world.run(&world.root(), &["merge", "--quiet", "--ff-only", "lane/x"]);
    assert_eq!(files(&world, &record), []);
    // On a branch that is its own base, what was committed since counts.
    world.commit(&record.path, "again", "1\n");
    let of_branch = try_diff(&world, &record, "lane/x").unwrap();
    assert_eq!(of_branch.base(), &record.base_commit);
    // A history that shares nothing is compared with the commit as it was.
    world.run(&record.path, &["checkout", "--quiet", "--orphan", "fresh"]);
    let orphan = diff(&world, &record);
    assert_eq!((orphan.base(), orphan.head()), (&record.base_commit, None));
    assert!(orphan.files().unwrap().iter().any(|file| file.path == Path::new("again")));
    world.run(&record.path, &["commit", "--quiet", "-m", "fresh"]);
    assert_eq!(diff(&world, &record).base(), &record.base_commit);
}

#[test]
fn a_change_in_the_moment_in_which_the_index_was_written_is_seen() {
    let world = World::new();
    let record = world.lane("x");
    let tree = &record.path;
    world.run(tree, &["config", "core.trustctime", "false"]);
    let moment = SystemTime::UNIX_EPOCH + Duration::from_hours(400_000);
    let at = |path: &Path| {
        let times = FileTimes::new().set_modified(moment);
        File::options().append(true).open(path).unwrap().set_times(times).unwrap();
    };
    let index = PathBuf::from(world.run(tree, &["rev-parse", "--absolute-git-dir"])).join("index");
    at(&tree.join("a"));
    world.run(tree, &["update-index", "--refresh"]);
    at(&index);
    fs::write(tree.join("a"), "two\n").unwrap();
    at(&tree.join("a"));
    fs::write(tree.join("untracked"), "x\n").unwrap();
    let files = files(&world, &record);
    assert_eq!(told(&files)[0], (&b"a"[..], DiffStatus::Modified, Some((1, 1))));
    assert_eq!(files.len(), 2);
}

#[test]
fn a_conflict_a_file_that_is_another_kind_now_and_an_index_in_two_parts_are_told() {
    let world = World::new();
    world.commit(&world.root(), "link", "a file\n");
    let record = world.lane("x");
    let tree = &record.path;
    world.run(tree, &["update-index", "--split-index"]);
    world.commit(tree, "a", "theirs\n");
    world.commit(&world.root(), "a", "ours\n");
    assert!(!world.try_run(tree, &["merge", "main"]).status.success(), "it is a conflict");
    fs::remove_file(tree.join("link")).unwrap();
    std::os::unix::fs::symlink("a", tree.join("link")).unwrap();
    fs::write(tree.join("new"), "x\n").unwrap();
    world.run(tree, &["config", "core.splitIndex", "true"]);
    let before = entry_of(&world, tree);
    let files = files(&world, &record);
    let statuses: Vec<_> = files.iter().map(|file| (file.path.to_str().unwrap(), file.status)).collect();
    let [("a", DiffStatus::Unmerged | DiffStatus::Modified), others @ ..] = &statuses[..] else {
        panic!("{statuses:?}")
    };
    assert_eq!(others, [("link", DiffStatus::TypeChanged), ("new", DiffStatus::Untracked)]);
    entry_is_as_before(&world, tree, &before);
}

#[test]
fn the_text_is_as_git_would_write_it_for_that_terminal() {
    let world = World::new();
    let record = world.lane("x");
    fs::write(record.path.join("a"), "two\n").unwrap();
    let on = |terminal: &str| DiffText { terminal: Some(terminal.into()), ..DiffText::default() };
    let diff = diff(&world, &record);
    assert!(text(&diff, &on("xterm")).contains("\u{1b}[31m-one"), "{}", text(&diff, &on("xterm")));
    assert!(!text(&diff, &on("dumb")).contains('\u{1b}'));
    world.run(&world.root(), &["config", "color.ui", "never"]);
    assert!(!text(&diff, &on("xterm")).contains('\u{1b}'));
    world.run(&world.root(), &["config", "diff.noprefix", "true"]);
    assert!(text(&diff, &DiffText::default()).contains("--- a\n+++ a\n"));
    // Programs that the user has set for looking at differences do not touch what programs read.
    script(&world.path("tool"), "echo shown by a tool");
    world.run(&world.root(), &["config", "diff.external", world.path("tool").to_str().unwrap()]);
    assert!(text(&diff, &DiffText::default()).contains("shown by a tool"));
    assert_eq!(told(&diff.files().unwrap()), [(&b"a"[..], DiffStatus::Modified, Some((1, 1)))]);
    let long = "x".repeat(60);
    fs::write(record.path.join(&long), "1\n").unwrap();
    let wide =
        |columns| text(&self::diff(&world, &record), &DiffText { stat: true, terminal: None, columns });
    assert!(wide(Some(100)).contains(&long) && !wide(Some(40)).contains(&long));
}

#[test]
fn a_tree_that_is_gone_is_said_to_be() {
    let world = World::new();
    let record = world.lane("x");
    fs::remove_dir_all(&record.path).unwrap();
    assert!(matches!(try_diff(&world, &record, "main"), Err(DiffError::NoTree { .. })));
    fs::create_dir(&record.path).unwrap();
    assert!(matches!(try_diff(&world, &record, "main"), Err(DiffError::NoTree { .. })));
}
