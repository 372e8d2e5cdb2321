//! What is done to a world while it crashes. Each operation begins in a world of its own.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::ledger::Ledger;
use super::random::FAILING;
use super::world::World;

/// One operation.
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    /// What has to be there: without faults.
    pub(crate) prepare: Step,
    /// What has to run under a daemon and holders that have faults; what it reaches does not count.
    pub(crate) prelude: fn(&World) -> Result<()>,
    pub(crate) act: Act,
}

pub(crate) type Step = fn(&World, &mut Ledger) -> Result<()>;

/// What is done, and may crash.
pub(crate) enum Act {
    /// This command.
    Lane(&'static [&'static str]),
    /// A daemon starts where another was killed at this point of this command.
    Start { killed_at: &'static str, of: &'static [&'static str] },
    /// A daemon starts where another ended in peace.
    StartInPeace,
    /// The daemon fills the pool by itself.
    FillPool,
    /// This command, and what the daemon does by itself after it until it tells of this event.
    Until { of: &'static [&'static str], event: &'static str },
    /// A request with a key, and the same once more: it is done once.
    Keyed,
    /// `lane doctor --fix`, and once more after a crash: nobody else repairs what a person was to see.
    Repair,
}

/// A program that stays.
pub(super) const SLEEP: [&str; 2] = ["sleep", "1000"];

/// A worker that fails each time.
const FAILS_AGAIN_AND_AGAIN: [&str; 9] =
    ["run", "a", "--name", FAILING, "--restart=on-failure", "--", "sh", "-c", "sleep 0.1; exit 3"];

/// A worker that says that it is ready and then three numbers, and ends when it is told to.
const TALKS: [&str; 12] = [
    "run",
    "a",
    "--name",
    "talks",
    "--channel",
    "jsonl",
    "--restart",
    "on-failure",
    "--",
    "sh",
    "-c",
    "exec \"$CHAOS_PROGRAM\" chaos-program \"$CHAOS_COUNTS\" --most 3",
];

/// All of them.
pub(crate) const OPERATIONS: &[Operation] = &[
    Operation { name: "create", prepare: nothing, prelude: at_once, act: Act::Lane(&["new", "a"]) },
    Operation {
        name: "create with a program",
        prepare: nothing,
        prelude: at_once,
        act: Act::Lane(&["new", "a", "--", SLEEP[0], SLEEP[1]]),
    },
    Operation {
        name: "create from a remote",
        prepare: nothing,
        prelude: at_once,
        act: Act::Lane(&["new", "a", "--branch", "feature"]),
    },
    Operation {
        name: "create with setup",
        prepare: with_setup,
        prelude: at_once,
        act: Act::Lane(&["new", "a", "--", SLEEP[0], SLEEP[1]]),
    },
    Operation {
        name: "create that fails",
        prepare: no_checkout,
        prelude: at_once,
        act: Act::Lane(&["new", "a"]),
    },
    Operation {
        name: "run",
        prepare: with_work,
        prelude: at_once,
        act: Act::Lane(&["run", "a", "--", SLEEP[0], SLEEP[1]]),
    },
    Operation {
        name: "run that fails",
        prepare: with_work,
        prelude: at_once,
        act: Act::Lane(&["run", "a", "--", "./no-such-program"]),
    },
    Operation {
        name: "exec",
        prepare: with_work,
        prelude: at_once,
        act: Act::Lane(&["exec", "a", "--", "sh", "-c", "echo made > target/made"]),
    },
    Operation { name: "stop", prepare: with_work, prelude: a_program, act: Act::Lane(&["stop", "a"]) },
    Operation {
        name: "restart",
        prepare: with_a_program,
        prelude: at_once,
        act: Act::Lane(&["restart", "a"]),
    },
    Operation {
        name: "run in tmux",
        prepare: with_work_beside_tmux,
        prelude: at_once,
        act: Act::Lane(&["run", "a", "--terminal", "tmux", "--", SLEEP[0], SLEEP[1]]),
    },
    Operation {
        name: "split",
        prepare: with_a_program_in_tmux,
        prelude: at_once,
        act: Act::Lane(&["split", "a", "--", SLEEP[0], SLEEP[1]]),
    },
    Operation {
        name: "restart in tmux",
        prepare: with_a_program_in_tmux,
        prelude: at_once,
        act: Act::Lane(&["restart", "a"]),
    },
    Operation {
        name: "stop in tmux",
        prepare: with_two_panes,
        prelude: at_once,
        act: Act::Lane(&["stop", "a"]),
    },
    Operation {
        name: "start after a broken split",
        prepare: with_a_program_in_tmux,
        prelude: at_once,
        act: Act::Start { killed_at: "pane.added", of: &["split", "a", "--", SLEEP[0], SLEEP[1]] },
    },
    Operation {
        name: "planned restarts",
        prepare: with_work_and_little_patience,
        prelude: at_once,
        act: Act::Until { of: &FAILS_AGAIN_AND_AGAIN, event: "worker.given_up" },
    },
    Operation {
        name: "a lease that ends",
        prepare: with_work,
        prelude: at_once,
        act: Act::Until { of: &["join", "a", "--as", "b", "--ttl", "1s"], event: "lane.attachment.expired" },
    },
    Operation {
        name: "run with a channel",
        prepare: with_work,
        prelude: at_once,
        act: Act::Until { of: &TALKS, event: "worker.event" },
    },
    Operation {
        name: "message",
        prepare: with_work,
        prelude: one_that_talks,
        act: Act::Lane(&["message", "talks", r#"{"type": "config"}"#]),
    },
    Operation {
        name: "stop over a channel",
        prepare: with_work,
        prelude: one_that_talks,
        act: Act::Lane(&["stop", "talks"]),
    },
    Operation {
        name: "start while one talks",
        prepare: with_work,
        prelude: at_once,
        act: Act::Start { killed_at: "channel.recorded", of: &TALKS },
    },
    Operation { name: "request with a key", prepare: nothing, prelude: at_once, act: Act::Keyed },
    Operation {
        name: "serve",
        prepare: nothing,
        prelude: at_once,
        act: Act::Lane(&["serve", "--port", "0"]),
    },
    Operation {
        name: "serve --stop",
        prepare: served,
        prelude: at_once,
        act: Act::Lane(&["serve", "--stop"]),
    },
    Operation {
        name: "token create",
        prepare: nothing,
        prelude: at_once,
        act: Act::Lane(&["token", "create", "a"]),
    },
    Operation {
        name: "token revoke",
        prepare: with_a_token,
        prelude: at_once,
        act: Act::Lane(&["token", "revoke", "a"]),
    },
    Operation {
        name: "prune with runs",
        prepare: closed_with_runs,
        prelude: at_once,
        act: Act::Lane(&["prune", "--yes"]),
    },
    Operation { name: "doctor --fix", prepare: with_something_left, prelude: at_once, act: Act::Repair },
    Operation { name: "rename", prepare: with_work, prelude: at_once, act: Act::Lane(&["rename", "a", "b"]) },
    Operation {
        name: "close",
        prepare: with_held_commits,
        prelude: a_program,
        act: Act::Lane(&["close", "a"]),
    },
    Operation {
        name: "close without a tree",
        prepare: with_held_commits_and_no_tree,
        prelude: at_once,
        act: Act::Lane(&["close", "a"]),
    },
    Operation {
        name: "close that is refused",
        prepare: with_work,
        prelude: a_program,
        act: Act::Lane(&["close", "a"]),
    },
    Operation {
        name: "close --discard",
        prepare: with_work,
        prelude: a_program,
        act: Act::Lane(&["close", "a", "--discard"]),
    },
    Operation {
        name: "close --merge",
        prepare: with_commits_beside_others,
        prelude: at_once,
        act: Act::Lane(&["close", "a", "--merge"]),
    },
    Operation {
        name: "close --merge elsewhere",
        prepare: with_commits_on_dev,
        prelude: at_once,
        act: Act::Lane(&["close", "a", "--merge"]),
    },
    Operation { name: "restore", prepare: discarded, prelude: at_once, act: Act::Lane(&["restore", "a"]) },
    Operation {
        name: "pool claim",
        prepare: with_a_pool,
        prelude: World::wait_for_pool,
        act: Act::Lane(&["new", "a"]),
    },
    Operation { name: "pool refill", prepare: with_a_pool, prelude: at_once, act: Act::FillPool },
    Operation {
        name: "pool that is not wanted any more",
        prepare: with_a_pool_that_is_not_wanted,
        prelude: at_once,
        act: Act::FillPool,
    },
    Operation {
        name: "restore from refs",
        prepare: discarded_without_trash,
        prelude: at_once,
        act: Act::Lane(&["restore", "a"]),
    },
    Operation {
        name: "prune",
        prepare: discarded_and_not_needed,
        prelude: at_once,
        act: Act::Lane(&["prune", "--yes"]),
    },
    Operation { name: "start", prepare: with_ends_to_record, prelude: at_once, act: Act::StartInPeace },
    Operation {
        name: "start after a broken create",
        prepare: nothing,
        prelude: at_once,
        act: Act::Start { killed_at: "create.checked-out", of: &["new", "a"] },
    },
    Operation {
        name: "start after a broken run",
        prepare: with_work,
        prelude: at_once,
        act: Act::Start { killed_at: "run.program-started", of: &["run", "a", "--", SLEEP[0], SLEEP[1]] },
    },
    Operation {
        name: "start after a broken stop",
        prepare: with_a_program,
        prelude: at_once,
        act: Act::Start { killed_at: "stop.asking", of: &["stop", "a"] },
    },
    Operation {
        name: "start after a broken restart",
        prepare: with_a_program,
        prelude: at_once,
        act: Act::Start { killed_at: "stop.asking", of: &["restart", "a"] },
    },
    Operation {
        name: "start after a broken close",
        prepare: with_held_commits,
        prelude: at_once,
        act: Act::Start { killed_at: "remove.aside", of: &["close", "a"] },
    },
    Operation {
        name: "start after a broken --discard",
        prepare: with_work,
        prelude: at_once,
        act: Act::Start { killed_at: "rescue.admin-copied", of: &["close", "a", "--discard"] },
    },
    Operation {
        name: "start after a broken restore",
        prepare: discarded,
        prelude: at_once,
        act: Act::Start { killed_at: "restore.tree-linked", of: &["restore", "a"] },
    },
];

#[expect(clippy::unnecessary_wraps, reason = "others can fail")]
fn nothing(_: &World, _: &mut Ledger) -> Result<()> {
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "others can fail")]
fn at_once(_: &World) -> Result<()> {
    Ok(())
}

fn a_program(world: &World) -> Result<()> {
    world.lane(&["run", "a", "--", SLEEP[0], SLEEP[1]])
}

/// It has said all that it says.
fn one_that_talks(world: &World) -> Result<()> {
    world.lane(&TALKS)?;
    let has_said = |event: &serde_json::Value| Ok(event["data"]["data"]["n"] == 3);
    ensure!(world.follow_until(has_said)?, "a program does not talk");
    Ok(())
}

fn served(world: &World, _: &mut Ledger) -> Result<()> {
    world.lane(&["serve", "--port", "0"])
}

fn with_a_token(world: &World, _: &mut Ledger) -> Result<()> {
    world.lane(&["token", "create", "a"])?;
    world.lane(&["token", "create", "b"])
}

/// Two closed lanes, in which something ran.
fn closed_with_runs(world: &World, _: &mut Ledger) -> Result<()> {
    for lane in ["a", "b"] {
        world.lane(&["new", lane])?;
        world.lane(&["exec", lane, "--", "true"])?;
        world.lane(&["close", lane])?;
    }
    Ok(())
}

/// A file to be copied and two steps to be run, to which a person has agreed.
fn with_setup(world: &World, _: &mut Ledger) -> Result<()> {
    fs::write(world.repository().join("key.secret"), "to be copied\n")?;
    let step =
        |name: &str| format!("[[steps]]\nname = \"{name}\"\ncommand = [\"sh\", \"-c\", \"echo {name}\"]\n");
    world.write_settings(&format!("copy = [\"*.secret\"]\n\n{}\n{}", step("first"), step("second")))?;
    world.lane(&["trust"])
}

/// One tree is to be kept ready, and the repository is known.
pub(super) fn with_a_pool(world: &World, _: &mut Ledger) -> Result<()> {
    world.lane(&["new", "known"])?;
    world.lane(&["close", "known"])?;
    world.want_pool(1)
}

fn with_a_pool_that_is_not_wanted(world: &World, ledger: &mut Ledger) -> Result<()> {
    with_a_pool(world, ledger)?;
    world.stop_the_daemon()?;
    world.lane(&["ls"])?;
    world.wait_for_pool()?;
    world.want_pool(0)
}

/// No file can be written: a filter that is demanded is not there.
fn no_checkout(world: &World, _: &mut Ledger) -> Result<()> {
    let attributes = world.repository().join(".git/info");
    fs::create_dir_all(&attributes)?;
    fs::write(attributes.join("attributes"), "*.c filter=broken\n")?;
    world.git(&["config", "filter.broken.clean", "cat"])?;
    world.git(&["config", "filter.broken.smudge", "false"])?;
    world.git(&["config", "filter.broken.required", "true"]).map(drop)
}

/// A lane with everything in it that could be lost.
pub(super) fn with_work(world: &World, ledger: &mut Ledger) -> Result<()> {
    world.lane(&["new", "a"])?;
    let tree = world.tree("a");
    ledger.write(&tree.join("src/first.c"), "a first commit")?;
    ledger.commit(world, &tree, "work")?;
    world.git_in(&tree, &["commit", "--quiet", "--amend", "--message", "better work"])?;
    ledger.note_head(world, &tree)?;
    ledger.write(&tree.join("staged"), "staged")?;
    world.git_in(&tree, &["add", "staged"])?;
    ledger.write(&tree.join("staged"), "staged, and changed later")?;
    ledger.write(&tree.join("README"), "changed")?;
    ledger.write(&tree.join("notes/untracked \"name\".txt"), "untracked")?;
    ledger.write(&tree.join("key.secret"), "ignored")?;
    fs::create_dir_all(tree.join("empty/folder"))?;
    fs::create_dir_all(tree.join("target"))?;
    fs::write(tree.join("target/made"), "can be made again")?;
    std::os::unix::fs::symlink("nowhere", tree.join("link"))?;
    ledger.note_work(world, "a")
}

/// What fails is started again once and at once, and then given up.
fn with_work_and_little_patience(world: &World, ledger: &mut Ledger) -> Result<()> {
    world.write_config("[restart]\nbase = \"50ms\"\nmax = 1\n")?;
    with_work(world, ledger)
}

/// A creation has failed, and could not take all of it back, since somebody's file was in it.
fn with_something_left(world: &World, _: &mut Ledger) -> Result<()> {
    no_checkout(world, &mut Ledger::default())?;
    world.git(&["config", "filter.broken.smudge", "touch left-behind; false"])?;
    ensure!(!world.try_lane(&["new", "a"])?.status.success(), "a lane was made without its files");
    world.git(&["config", "--remove-section", "filter.broken"])?;
    fs::remove_file(world.tree("a").join("left-behind")).context("what was left behind")
}

pub(super) fn with_a_program(world: &World, ledger: &mut Ledger) -> Result<()> {
    with_work(world, ledger)?;
    world.lane(&["run", "a", "--", SLEEP[0], SLEEP[1]])
}

fn with_work_beside_tmux(world: &World, ledger: &mut Ledger) -> Result<()> {
    world.start_tmux()?;
    with_work(world, ledger)
}

fn with_a_program_in_tmux(world: &World, ledger: &mut Ledger) -> Result<()> {
    with_work_beside_tmux(world, ledger)?;
    world.lane(&["run", "a", "--terminal", "tmux", "--", SLEEP[0], SLEEP[1]])
}

fn with_two_panes(world: &World, ledger: &mut Ledger) -> Result<()> {
    with_a_program_in_tmux(world, ledger)?;
    world.lane(&["split", "a", "--", SLEEP[0], SLEEP[1]])
}

/// A clean lane whose commits another branch holds, but for one that only the reflog names.
fn with_held_commits(world: &World, ledger: &mut Ledger) -> Result<()> {
    world.lane(&["new", "a"])?;
    let tree = world.tree("a");
    ledger.write(&tree.join("src/first.c"), "a first commit")?;
    ledger.commit(world, &tree, "work")?;
    world.git_in(&tree, &["commit", "--quiet", "--amend", "--message", "better work"])?;
    ledger.note_head(world, &tree)?;
    fs::create_dir_all(tree.join("target"))?;
    fs::write(tree.join("target/made"), "can be made again")?;
    world.git(&["branch", "keeper", "lane/a"]).map(drop)
}

fn with_held_commits_and_no_tree(world: &World, ledger: &mut Ledger) -> Result<()> {
    with_held_commits(world, ledger)?;
    ledger.tree_removed = true;
    fs::remove_dir_all(world.tree("a")).context("a tree that a person has removed")
}

/// Commits on both sides, so that there is something to merge.
fn with_commits_beside_others(world: &World, ledger: &mut Ledger) -> Result<()> {
    with_commits(world, ledger, &["new", "a"])?;
    ledger.write(&world.repository().join("beside"), "a commit beside it")?;
    ledger.commit(world, &world.repository(), "beside")
}

/// The same with a base that is checked out nowhere.
fn with_commits_on_dev(world: &World, ledger: &mut Ledger) -> Result<()> {
    with_commits(world, ledger, &["new", "a", "--base", "dev"])
}

fn with_commits(world: &World, ledger: &mut Ledger, create: &[&str]) -> Result<()> {
    world.lane(create)?;
    let tree = world.tree("a");
    ledger.write(&tree.join("src/first.c"), "a first commit")?;
    ledger.commit(world, &tree, "work")?;
    ledger.write(&tree.join("src/second.c"), "a second commit")?;
    ledger.commit(world, &tree, "more work")
}

fn discarded(world: &World, ledger: &mut Ledger) -> Result<()> {
    with_work(world, ledger)?;
    world.lane(&["close", "a", "--discard"])
}

/// Only what commits could hold is left.
fn discarded_without_trash(world: &World, ledger: &mut Ledger) -> Result<()> {
    with_commits(world, ledger, &["new", "a"])?;
    ledger.write(&world.tree("a").join("README"), "changed")?;
    ledger.write(&world.tree("a").join("untracked"), "untracked")?;
    world.lane(&["close", "a", "--discard"])?;
    fs::remove_dir_all(trash(world)).context("the trash")
}

fn discarded_and_not_needed(world: &World, ledger: &mut Ledger) -> Result<()> {
    discarded(world, ledger)?;
    ledger.forget();
    Ok(())
}

fn trash(world: &World) -> std::path::PathBuf {
    world.repository().join(".lanes/.trash")
}

/// A program that goes on, one that ends while there is no daemon, and one whose holder is killed.
fn with_ends_to_record(world: &World, ledger: &mut Ledger) -> Result<()> {
    with_a_program(world, ledger)?;
    for name in ["ends", "lost"] {
        world.lane(&["run", "a", "--name", name, "--", SLEEP[0], SLEEP[1]])?;
    }
    let workers = world.json(&["ps"])?;
    world.stop_the_daemon()?;
    for worker in workers["workers"].as_array().into_iter().flatten() {
        let pid = worker["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).context("a pid")?;
        match worker["name"].as_str() {
            Some("ends") => kill(pid)?,
            Some("lost") => kill(parent(pid)?)?,
            _ => {}
        }
    }
    Ok(())
}

pub(super) fn kill(pid: u32) -> Result<()> {
    use crate::bench::measure::processes;
    let process = processes::open(pid).context("a process that runs")?;
    processes::kill(&process);
    ensure!(processes::ends_within(&process, super::world::LIMIT)?, "process {pid} does not end");
    Ok(())
}

/// Who has started a process.
pub(super) fn parent(pid: u32) -> Result<u32> {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"))?;
    // `pid (name) state parent …`; a name may hold parentheses.
    let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
    let Some(parent) = parent else { bail!("process {pid} has no parent: {stat}") };
    Ok(parent)
}
