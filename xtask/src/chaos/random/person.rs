//! A person who uses git in the same repository, and has worktrees of his own there: nobody touches those.

use std::path::PathBuf;

use anyhow::Result;

use super::account::Account;
use super::numbers::Random;
use crate::chaos::world::World;

/// What he does.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Deed {
    /// Makes a worktree outside of the main checkout.
    Add { number: u64 },
    /// Removes the one that he made last.
    Remove,
    /// Has the one that he made last taken in as a lane.
    Adopt,
    /// `git worktree prune`
    PruneEntries,
    /// `git gc`
    CollectGarbage,
    /// `git fetch`, where there is something new.
    Fetch { number: u64 },
    /// Commits in the main checkout, so that what lanes are made from and merged into moves on.
    Commit { number: u64 },
    /// Writes another `laneway.toml`.
    Settings { text: String },
    /// Agrees to what is written there.
    Trust,
}

/// His deeds, without an end.
struct Deeds {
    random: Random,
    /// Of the last one.
    number: u64,
    /// Nothing of ours.
    git_only: bool,
}

impl Iterator for Deeds {
    type Item = Deed;

    fn next(&mut self) -> Option<Deed> {
        self.number += 1;
        let number = self.number;
        Some(match self.random.below(if self.git_only { 12 } else { 16 }) {
            0..3 => Deed::Add { number },
            3 => Deed::Remove,
            4..7 => Deed::PruneEntries,
            7..9 => Deed::CollectGarbage,
            9 => Deed::Fetch { number },
            10..12 => Deed::Commit { number },
            12 => Deed::Adopt,
            13 => Deed::Settings { text: settings(&mut self.random) },
            _ => Deed::Trust,
        })
    }
}

/// So many trees to be kept ready, files to be copied and linked, and steps, of which one may fail at its first try in
/// every third lane.
fn settings(random: &mut Random) -> String {
    let step = |name: &str, script: &str| {
        format!("[[steps]]\nname = \"{name}\"\ncommand = [\"sh\", \"-c\", '''{script}''']\n")
    };
    let fails_once = "mkdir -p target; test -e target/tried || { touch target/tried; \
                      case ${PWD##*/} in *[0369]) exit 1;; esac; }";
    let n_pooled = random.below(3);
    let files = random
        .one_of(["", "copy = [\"*.secret\"]\n", "copy = [\"*.secret\"]\nlink = [\"data\"]\n"].as_slice());
    let steps = match random.below(3) {
        0 => String::new(),
        1 => step("fast", "echo fast"),
        _ => step("first", "echo first") + &step("fails-once", fails_once),
    };
    format!("pool = {n_pooled}\n{files}{steps}")
}

/// He.
pub(in crate::chaos) struct Person {
    deeds: Deeds,
    /// What he has and can remove; the names of folders and branches.
    has: Vec<String>,
    /// What has been taken in as lanes: he leaves it there.
    adopted: Vec<String>,
}

impl Person {
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let deeds = Deeds { random: Random::new(seed, stream), number: 0, git_only: false };
        Self { deeds, has: Vec::new(), adopted: Vec::new() }
    }

    /// One who uses git, and nothing of ours.
    pub(in crate::chaos) fn with_git_only(seed: u64) -> Self {
        let deeds = Deeds { random: Random::new(seed, 0), number: 0, git_only: true };
        Self { deeds, has: Vec::new(), adopted: Vec::new() }
    }

    /// How many worktrees he has.
    pub(in crate::chaos) fn n_worktrees(&self) -> usize {
        self.has.len() + self.adopted.len()
    }

    /// Carries out the next so many deeds.
    pub(in crate::chaos) fn go_on(&mut self, n_deeds: usize, world: &World, account: &Account) -> Result<()> {
        let deeds: Vec<Deed> = self.deeds.by_ref().take(n_deeds).collect();
        deeds.into_iter().try_for_each(|deed| self.carry_out(deed, world, account))
    }

    fn carry_out(&mut self, deed: Deed, world: &World, account: &Account) -> Result<()> {
        let git = |kind: &'static str, arguments: &[&str]| {
            let said = world.try_git(arguments)?;
            let code = said.status.code().unwrap_or(-1);
            account.note("person", kind, &arguments.join(" "), code, &said.err)?;
            anyhow::Ok(code == 0)
        };
        match deed {
            Deed::Add { number } => {
                let (name, path) = named(world, number);
                let path = path.to_string_lossy();
                if git("(git worktree add)", &["worktree", "add", "--quiet", "-b", &name, &path])? {
                    self.has.push(name);
                } else {
                    // git's own commands do not stand each other; what was made of it is in nobody's way.
                    drop(world.try_git(&["worktree", "remove", "--force", &path])?);
                    drop(world.try_git(&["branch", "--quiet", "-D", &name])?);
                }
            }
            Deed::Remove => {
                let Some(name) = self.has.pop() else { return Ok(()) };
                let path = world.own().join(&name);
                if !git("(git worktree remove)", &["worktree", "remove", &path.to_string_lossy()])? {
                    self.has.push(name);
                }
            }
            Deed::Adopt => {
                let Some(name) = self.has.pop() else { return Ok(()) };
                let said = world.try_lane(&["adopt", &world.own().join(&name).to_string_lossy()])?;
                account.note("person", "adopt", &name, said.status.code().unwrap_or(-1), &said.err)?;
                self.adopted.push(name);
            }
            Deed::PruneEntries => {
                git("(git worktree prune)", &["worktree", "prune", "--expire", "now"])?;
            }
            Deed::CollectGarbage => {
                git("(git gc)", &["gc", "--quiet"])?;
            }
            Deed::Fetch { number } => {
                let theirs = format!("theirs-{number}");
                world.git_in(&world.repository().join("../origin.git"), &["branch", &theirs, "main"])?;
                git("(git fetch)", &["fetch", "--quiet", "origin"])?;
            }
            Deed::Commit { number } => {
                let message = format!("main goes on {number}");
                git("(git commit in main)", &["commit", "--quiet", "--allow-empty", "--message", &message])?;
            }
            Deed::Settings { text } => {
                world.replace_settings(&text)?;
                account.note("person", "(settings)", &text.replace('\n', "; "), 0, "")?;
            }
            Deed::Trust => {
                let said = world.try_lane(&["trust"])?;
                account.note("person", "trust", "", said.status.code().unwrap_or(-1), &said.err)?;
            }
        }
        Ok(())
    }

    /// What of his is not as he left it.
    pub(in crate::chaos) fn misses(&self, world: &World) -> Result<Vec<String>> {
        let mut missing = Vec::new();
        for name in self.has.iter().chain(&self.adopted) {
            let tree = world.own().join(name);
            let head = if tree.exists() {
                world.git_in(&tree, &["symbolic-ref", "HEAD"])?
            } else {
                "nothing".to_owned()
            };
            if head.trim() != format!("refs/heads/{name}") || !tree.join("README").exists() {
                missing.push(format!("the person's own worktree {name} is on {}", head.trim()));
            }
        }
        Ok(missing)
    }
}

/// A worktree of his: its branch and its place.
fn named(world: &World, number: u64) -> (String, PathBuf) {
    let name = format!("own-{number}");
    let path = world.own().join(&name);
    (name, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_he_does_follows_from_the_seed() {
        let deeds = |seed| Person::new(seed, 9).deeds.take(300).collect::<Vec<_>>();
        assert_eq!(deeds(7), deeds(7));
        assert_ne!(deeds(7), deeds(8));
        let are_there = |part: &str| {
            deeds(7).iter().any(|deed| matches!(deed, Deed::Settings { text } if text.contains(part)))
        };
        let git_only = Person::with_git_only(7).deeds.take(300).collect::<Vec<_>>();
        assert!(
            !git_only.iter().any(|deed| matches!(deed, Deed::Adopt | Deed::Settings { .. } | Deed::Trust))
        );
        assert!(["pool = 2", "copy", "link", "fails-once"].into_iter().all(are_there));
    }
}
