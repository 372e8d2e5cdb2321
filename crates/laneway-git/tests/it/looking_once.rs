//! Of a tree in which nothing was written since git did, no file is read; of any other all is found.

use std::path::{Path, PathBuf};

use laneway_git::{Findings, Git, Repository, TreeRecord, discover};

use crate::world::{NOT_STUCK, World, environment, script, to_judge};

/// Of so many changes within a second git misses one, where it can.
const MOST_TRIES: usize = 100;

/// A lane whose tree was just made, with folders that are made again, and the commands that git is asked.
struct Lane {
    world: World,
    record: TreeRecord,
    repository: Repository,
    log: PathBuf,
}

impl Lane {
    fn new() -> Self {
        let world = World::new();
        world.commit(&world.root(), ".gitignore", "target/\nnode_modules\n*.o\n");
        std::fs::create_dir_all(world.root().join("folder/build")).unwrap();
        for file in ["b", "folder/c", "folder/build/d"] {
            world.commit(&world.root(), file, "content\n");
        }
        let record = world.lane("x");
        let (log, program) = (world.path("log"), world.path("bin/git"));
        let words =
            format!("echo \"$*\" >> '{}'\nexec '{}' \"$@\"", log.display(), world.git.program().display());
        script(&program, &words);
        let git = Git::at(program, environment(&world.folder().canonicalize().unwrap())).unwrap();
        let repository = Repository::open(&git, &discover(&world.root()).unwrap()).unwrap();
        Self { world, record, repository, log }
    }

    /// What a look finds, and whether git was asked for it.
    fn look(&self) -> (Findings, bool) {
        std::fs::write(&self.log, "").unwrap();
        let found = self.repository.judge(&to_judge(&self.record, &[])).unwrap();
        let log = std::fs::read_to_string(&self.log).unwrap();
        (found, log.contains(" status "))
    }

    fn git(&self, args: &[&str]) -> String {
        self.world.run(&self.record.path, args)
    }
}

/// Other content of the same length under the same time.
fn forge(path: &Path) {
    let before = path.metadata().unwrap();
    std::fs::write(path, "CONTENT\n").unwrap();
    assert_eq!(path.metadata().unwrap().len(), before.len());
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_modified(before.modified().unwrap()).unwrap();
}

#[test]
fn git_is_not_asked_about_files_in_which_nothing_was_written() {
    let lane = Lane::new();
    let (found, asked) = lane.look();
    assert!(found.is_clean() && !asked, "{found:?}");
    // Also not with what is made again in it.
    std::fs::create_dir_all(lane.record.path.join("target/debug")).unwrap();
    std::fs::write(lane.record.path.join("target/debug/a.o"), "built").unwrap();
    std::fs::create_dir_all(lane.record.path.join("folder/node_modules/p")).unwrap();
    let (found, asked) = lane.look();
    assert!(found.is_clean() && !asked, "{found:?}");
    // And of a tree that was worked in, when all is committed.
    lane.world.commit(&lane.record.path, "b", "changed\n");
    lane.world.run(&lane.world.root(), &["branch", "holder", "lane/x"]);
    let (found, asked) = lane.look();
    assert!(found.is_clean() && !asked, "{found:?}");
}

#[test]
fn whatever_is_not_as_committed_is_found_in_a_tree_that_was_just_made() {
    type Change = fn(&Lane);
    let changes: [(&str, Change); 12] = [
        ("written", |lane| std::fs::write(lane.record.path.join("b"), "x").unwrap()),
        ("forged", |lane| forge(&lane.record.path.join("folder/c"))),
        ("deleted", |lane| std::fs::remove_file(lane.record.path.join("b")).unwrap()),
        ("a link in its place", |lane| {
            std::fs::remove_file(lane.record.path.join("b")).unwrap();
            std::os::unix::fs::symlink("a", lane.record.path.join("b")).unwrap();
        }),
        ("executable", |lane| {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(lane.record.path.join("b"), mode).unwrap();
        }),
        ("new", |lane| std::fs::write(lane.record.path.join("folder/new"), "x").unwrap()),
        ("ignored", |lane| std::fs::write(lane.record.path.join("a.o"), "x").unwrap()),
        ("ignored beside a tracked file", |lane| {
            std::fs::write(lane.record.path.join("folder/build/a.o"), "x").unwrap();
        }),
        ("not ignored, whatever its folder is called", |lane| {
            std::fs::create_dir_all(lane.record.path.join("dist")).unwrap();
            std::fs::write(lane.record.path.join("dist/new"), "x").unwrap();
        }),
        ("staged, and not in the tree", |lane| {
            std::fs::write(lane.record.path.join("b"), "CONTENT\n").unwrap();
            lane.git(&["add", "b"]);
            lane.git(&["cat-file", "--filters", "HEAD:b"]);
            std::fs::write(lane.record.path.join("b"), "content\n").unwrap();
        }),
        ("staged", |lane| {
            std::fs::write(lane.record.path.join("b"), "CONTENT\n").unwrap();
            lane.git(&["add", "b"]);
        }),
        ("no longer committed", |lane| drop(lane.git(&["reset", "--quiet", "--soft", "HEAD~1"]))),
    ];
    for (what, change) in changes {
        let lane = Lane::new();
        change(&lane);
        let (found, _) = lane.look();
        let n_files = found.changed.count + found.untracked.count + found.ignored.count;
        assert!(n_files == 1 && found.stamp.is_none(), "{what}: {found:?}");
    }
}

#[test]
fn several_look_at_a_changed_tree_at_once_and_leave_nothing_there() {
    let lane = Lane::new();
    std::fs::write(lane.record.path.join("b"), "longer than before\n").unwrap();
    let looks = || {
        for _ in 0..5 {
            let found = lane.repository.judge(&to_judge(&lane.record, &[])).unwrap();
            let n_others = found.untracked.count + found.ignored.count;
            assert!(found.changed.count == 1 && n_others == 0 && found.not_looked_at.is_none(), "{found:?}");
        }
    };
    std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(looks))));
    let admin = lane.git(&["rev-parse", "--absolute-git-dir"]);
    let names =
        std::fs::read_dir(admin).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let ours: Vec<String> = names.filter(|name| name.contains("settled")).collect();
    assert!(ours.is_empty(), "{ours:?}");
}

#[test]
fn what_is_written_in_the_same_tick_as_the_index_is_found() {
    let lane = Lane::new();
    let file = lane.record.path.join("b");
    for n in 0..50 {
        std::fs::write(&file, format!("{:07}\n", 2 * n)).unwrap();
        lane.git(&["commit", "--quiet", "--all", "--message", "written"]);
        std::fs::write(&file, format!("{:07}\n", 2 * n + 1)).unwrap();
        assert_eq!(lane.look().0.changed.count, 1);
    }
}

#[test]
fn a_change_within_the_second_in_which_git_knew_the_file_is_found() {
    let lane = Lane::new();
    change_unseen(&lane);
    assert_eq!(lane.look().0.changed.count, 1);
}

/// Changes `b` so that git does not see it.
fn change_unseen(lane: &Lane) {
    let file = lane.record.path.join("b");
    let is_missed = || {
        // As archives are unpacked: with an old time.
        std::fs::write(&file, "content\n").unwrap();
        let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        std::fs::File::options().write(true).open(&file).unwrap().set_modified(old).unwrap();
        lane.git(&["update-index", "b"]);
        forge(&file);
        lane.git(&["status", "--porcelain"]).is_empty()
    };
    let until = std::time::Instant::now() + NOT_STUCK;
    while !is_missed() {
        assert!(std::time::Instant::now() < until, "git sees it in every second");
    }
}

#[test]
fn one_entry_that_is_not_ordinary_hides_no_change_of_another_file() {
    type Change = fn(&Lane);
    let odd: [(&str, Change); 5] = [
        ("skip-worktree", |lane| drop(lane.git(&["update-index", "--skip-worktree", "folder/c"]))),
        ("assume-unchanged", |lane| drop(lane.git(&["update-index", "--assume-unchanged", "folder/c"]))),
        ("sparse", |lane| drop(lane.git(&["sparse-checkout", "set", "--no-cone", "/*", "!/folder/"]))),
        ("a submodule that was not brought", |lane| {
            let head = lane.git(&["rev-parse", "HEAD"]);
            lane.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{head},sub")]);
            lane.git(&["commit", "--quiet", "--message", "a submodule"]);
            std::fs::create_dir(lane.record.path.join("sub")).unwrap();
            lane.world.run(&lane.world.root(), &["branch", "holder", "lane/x"]);
        }),
        ("an index elsewhere, so that nothing is told by times", |lane| {
            let index = PathBuf::from(lane.git(&["rev-parse", "--absolute-git-dir"])).join("index");
            let elsewhere = lane.world.path("index");
            std::fs::rename(&index, &elsewhere).unwrap();
            std::os::unix::fs::symlink(elsewhere, index).unwrap();
        }),
    ];
    for (what, make_odd) in odd {
        let lane = Lane::new();
        make_odd(&lane);
        let (found, _) = lane.look();
        assert!(found.is_clean(), "{what}: {found:?}");
        change_unseen(&lane);
        let (found, _) = lane.look();
        assert_eq!(found.changed.count, 1, "{what}: {found:?}");
        std::fs::write(lane.record.path.join("b"), "content\n").unwrap();
        let (found, _) = lane.look();
        assert!(found.is_clean(), "{what}: {found:?}");
    }
}

#[test]
fn a_link_that_leads_elsewhere_within_the_second_is_found_and_one_that_does_not_is_none() {
    use std::os::unix::fs::symlink;
    let lane = Lane::new();
    let (link, other) = (lane.record.path.join("link"), lane.record.path.join("other-link"));
    symlink("a", &link).unwrap();
    symlink("b", &other).unwrap();
    lane.git(&["add", "link", "other-link"]);
    lane.git(&["commit", "--quiet", "--message", "links"]);
    lane.world.run(&lane.world.root(), &["branch", "holder", "lane/x"]);
    assert!(lane.look().0.is_clean());
    let make = |leads_to: &str| {
        let old = rustix::fs::Timespec { tv_sec: 1_000_000_000, tv_nsec: 0 };
        let times = rustix::fs::Timestamps { last_access: old, last_modification: old };
        // The other one is as it was, made again.
        for (link, leads_to) in [(&link, leads_to), (&other, "b")] {
            std::fs::remove_file(link).unwrap();
            symlink(leads_to, link).unwrap();
            let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::utimensat(rustix::fs::CWD, link, &times, flags).unwrap();
        }
    };
    // Where each new file gets a number of its own git sees it; elsewhere it is missed soon.
    for _ in 0..MOST_TRIES {
        make("a");
        lane.git(&["update-index", "--refresh", "-q"]);
        make("b");
        if lane.git(&["status", "--porcelain"]).is_empty() {
            break;
        }
    }
    let (found, _) = lane.look();
    let paths: Vec<_> = found.changed.first.iter().map(|file| file.path.to_str().unwrap()).collect();
    assert_eq!(paths, ["link"], "{found:?}");
    make("a");
    let (found, _) = lane.look();
    assert!(found.is_clean(), "{found:?}");
}

#[test]
fn no_setting_hides_a_change_that_keeps_length_and_time() {
    use std::os::unix::fs::MetadataExt;
    for setting in ["core.trustctime=false", "core.checkStat=minimal"] {
        let lane = Lane::new();
        let file = lane.record.path.join("b");
        let (key, value) = setting.split_once('=').unwrap();
        lane.git(&["config", key, value]);
        // The index is of a later second than its files.
        let index = PathBuf::from(lane.git(&["rev-parse", "--absolute-git-dir"])).join("index");
        let later = index.metadata().unwrap().modified().unwrap() + std::time::Duration::from_secs(2);
        std::fs::File::options().write(true).open(&index).unwrap().set_modified(later).unwrap();
        // And the change as well.
        let made_at = file.metadata().unwrap().ctime();
        while file.metadata().unwrap().ctime() == made_at {
            forge(&file);
        }
        assert_eq!(lane.git(&["status", "--porcelain"]), "", "git does not see it with {setting}");
        let status = ["-c", "core.trustctime=true", "-c", "core.checkStat=default", "status", "--porcelain"];
        assert_eq!(lane.git(&status), " M b");
        let (found, _) = lane.look();
        assert_eq!(
            found.changed.first.iter().filter(|file| !file.is_hidden).count(),
            1,
            "{setting}: {found:?}"
        );
    }
}

#[test]
fn what_was_written_within_a_second_is_in_the_commit_of_a_rescue() {
    let lane = Lane::new();
    forge(&lane.record.path.join("b"));
    std::fs::write(lane.record.path.join("folder/c"), "longer content\n").unwrap();
    std::fs::write(lane.record.path.join("folder/new"), "new\n").unwrap();
    let asked = laneway_git::TreeToRescue {
        path: &lane.record.path,
        recorded_branch: &lane.record.branch,
        delete_branch: true,
        id: "id",
    };
    let rescued = lane.repository.rescue(&asked).unwrap();
    assert!(rescued.only_in_trash.is_empty(), "{rescued:?}");
    let work = rescued.refs[&laneway_git::RescueRef::Work].as_str();
    for (file, content) in
        [("b", "CONTENT"), ("folder/c", "longer content"), ("folder/new", "new"), ("a", "one")]
    {
        let said = lane.world.run(&lane.world.root(), &["cat-file", "blob", &format!("{work}:{file}")]);
        assert_eq!(said, content, "{file}");
    }
}
