//! One who gives commands, one after the other, and notes what must not be lost.

use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, ensure};
use serde_json::Value;

use super::account::Account;
use super::deeds::{Deed, Deeds};
use crate::chaos::ledger::Ledger;
use crate::chaos::world::World;

/// What is deleted for good has been kept for longer than this…
const KEPT_FOR: &str = "45s";

/// …and what has been kept for longer than that does not have to be found again: a deletion takes a while.
const MAY_BE_DELETED: &str = "15s";

/// What somebody has had deleted: nobody needs to find it again.
#[derive(Default)]
pub(super) struct Deleted {
    contents: HashSet<Vec<u8>>,
    commits: HashSet<String>,
}

/// He.
pub(super) struct Client {
    number: usize,
    deeds: Deeds,
    pub(super) ledger: Ledger,
}

impl Client {
    pub(super) fn new(seed: u64, number: usize) -> Self {
        Self { number, deeds: Deeds::new(seed, number), ledger: Ledger::default() }
    }

    /// Carries out the next so many deeds.
    pub(super) fn go_on(
        &mut self,
        n_deeds: usize,
        world: &World,
        account: &Account,
        deleted: &Mutex<Deleted>,
    ) -> Result<()> {
        let deeds: Vec<Deed> = self.deeds.by_ref().take(n_deeds).collect();
        deeds.into_iter().try_for_each(|deed| match deed {
            Deed::Lane { kind, words } => self.command(kind, &words, world, account),
            Deed::Write { lane, number } => self.write(&lane, number, world, account),
            Deed::Commit { lane, number } => self.commit(&lane, number, world, account),
            Deed::Rewrite { lane, number } => self.rewrite(&lane, number, world, account),
            Deed::Prune => self.prune(world, account, deleted),
        })
    }

    /// What was deleted for good does not have to be found any more.
    pub(super) fn forget(&mut self, deleted: &Deleted) {
        self.ledger.forget_those(&deleted.contents, &deleted.commits);
    }

    fn command(&self, kind: &'static str, words: &[String], world: &World, account: &Account) -> Result<()> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let said = world.try_lane(&words)?;
        let code = said.status.code();
        // Refused, not found, failed, without its daemon: all of that happens. A panic, a signal, or a command that
        // makes no sense must not.
        ensure!(
            code.is_some_and(|code| code != 101 && code != 2),
            "lane {words:?} ended with {}: {}",
            said.status,
            said.err
        );
        self.note(account, kind, &words.join(" "), code.unwrap_or(-1), &said.err)
    }

    /// Writes a file into a lane that can be worked in. What is written must not be lost, whoever closes it meanwhile.
    fn write(&mut self, lane: &str, number: u64, world: &World, account: &Account) -> Result<()> {
        let Some(tree) = tree(world, lane)? else {
            return self.note(account, "(write)", lane, 1, "no such lane");
        };
        let written = self.write_into(&tree, number);
        self.note(account, "(write)", &format!("{number} into {lane}"), i32::from(!written), "")
    }

    fn write_into(&mut self, tree: &Path, number: u64) -> bool {
        let (name, content) = (file_name(self.number, number), content(self.number, number));
        let file = OpenOptions::new().write(true).create_new(true).open(tree.join(name));
        let written = file.and_then(|mut file| file.write_all(content.as_bytes())).is_ok();
        if written {
            self.ledger.note_content(content);
        }
        written
    }

    fn commit(&mut self, lane: &str, number: u64, world: &World, account: &Account) -> Result<()> {
        let Some(tree) = tree(world, lane)? else {
            return self.note(account, "(commit)", lane, 1, "no such lane");
        };
        let committed = self.write_into(&tree, number)
            && world.git_in(&tree, &["add", "--all"]).is_ok()
            && world.git_in(&tree, &["commit", "--quiet", "--message", "work"]).is_ok();
        self.committed("(commit)", lane, &tree, committed, world, account)
    }

    fn rewrite(&mut self, lane: &str, number: u64, world: &World, account: &Account) -> Result<()> {
        let Some(tree) = tree(world, lane)? else {
            return self.note(account, "(rewrite)", lane, 1, "no such lane");
        };
        let text = format!("int main(void) {{ return {number}; }} // {}\n", self.number);
        let committed = fs::write(tree.join("src/main.c"), text).is_ok()
            && world.git_in(&tree, &["commit", "--quiet", "--all", "--message", "rewritten"]).is_ok();
        self.committed("(rewrite)", lane, &tree, committed, world, account)
    }

    fn committed(
        &mut self,
        kind: &'static str,
        lane: &str,
        tree: &Path,
        committed: bool,
        world: &World,
        account: &Account,
    ) -> Result<()> {
        // Found out later it may be another's; then it must not be lost either.
        let head = if committed { self.ledger.note_head(world, tree).ok() } else { None };
        self.note(account, kind, lane, i32::from(!committed), &format!("noted: {}", head.is_some()))
    }

    /// Deletes what has been kept for a while.
    fn prune(&self, world: &World, account: &Account, deleted: &Mutex<Deleted>) -> Result<()> {
        let shown = world.try_lane(&["prune", "--older-than", MAY_BE_DELETED, "--dry-run", "--json"])?;
        let rescues: Value = serde_json::from_slice(&shown.out).unwrap_or_default();
        let Some(rescues) = rescues["rescues"].as_array() else {
            return self.note(account, "prune", "--dry-run", shown.status.code().unwrap_or(-1), &shown.err);
        };
        for lane in rescues.iter().filter_map(|rescue| rescue["lane"].as_str()) {
            let mut deleted = deleted.lock().unwrap_or_else(PoisonError::into_inner);
            note_deleted(lane, world, &mut deleted);
        }
        let said = world.try_lane(&["prune", "--older-than", KEPT_FOR, "--yes"])?;
        let code = said.status.code().unwrap_or(-1);
        self.note(account, "prune", &format!("of {} that are kept", rescues.len()), code, &said.err)
    }

    fn note(&self, account: &Account, kind: &'static str, what: &str, code: i32, said: &str) -> Result<()> {
        account.note(&format!("c{}", self.number), kind, what, code, said)
    }
}

/// The worktree of a lane that can be worked in.
fn tree(world: &World, lane: &str) -> Result<Option<PathBuf>> {
    let said = world.try_lane(&["ls", "--json"])?;
    let shown: Value = serde_json::from_slice(&said.out).unwrap_or_default();
    let can_be_worked_in =
        |lane: &&Value| ["ready", "running", "shared"].iter().any(|word| lane["status"] == *word);
    let mut lanes = shown["lanes"].as_array().into_iter().flatten().filter(can_be_worked_in);
    let found = lanes.find(|shown| shown["name"] == lane);
    Ok(found.and_then(|lane| lane["path"].as_str()).map(PathBuf::from))
}

fn file_name(client: usize, number: u64) -> String {
    format!("file-{client}-{number}")
}

fn content(client: usize, number: u64) -> String {
    format!("file {number} of client {client}\n")
}

/// The content of the file of this name, if it is one of ours.
fn content_of(name: &str) -> Option<String> {
    let (client, number) = name.strip_prefix("file-")?.split_once('-')?;
    Some(content(client.parse().ok()?, number.parse().ok()?))
}

/// All that is kept of a closed lane, but for commits that branches have as well.
fn note_deleted(lane: &str, world: &World, deleted: &mut Deleted) {
    let refs = format!("--glob=refs/laneway/rescue/{lane}");
    let of_it = ["log", "--format=%H", "--name-only", &refs, "--not", "--branches", "--remotes"];
    // Deleted or brought back by somebody else meanwhile.
    let said = world.git(&of_it).unwrap_or_default();
    let trees = [world.repository().join(".lanes/.trash").join(lane).join("tree")];
    let files = trees.iter().filter_map(|tree| fs::read_dir(tree).ok()).flatten().flatten();
    let names = files.filter_map(|entry| entry.file_name().into_string().ok());
    for word in said.lines().map(str::to_owned).chain(names) {
        match content_of(&word) {
            Some(content) => drop(deleted.contents.insert(content.into_bytes())),
            None => drop(deleted.commits.insert(word)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_file_says_what_is_in_it() {
        assert_eq!(content_of(&file_name(2, 17)), Some(content(2, 17)));
        assert_eq!(content_of("README"), None);
    }
}
