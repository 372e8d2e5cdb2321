//! What was done and how it went: counted, and written down line by line for who has to find out what happened.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::chaos::world::World;

/// The exit code of what was refused.
const REFUSED: i32 = 5;

/// Of everybody.
pub(in crate::chaos) struct Account {
    began: Instant,
    /// Of each kind of deed: how often it ended with which code. What git or a file was asked for ends with 0 or 1.
    outcomes: Mutex<BTreeMap<&'static str, BTreeMap<i32, u32>>>,
    log: Mutex<File>,
}

impl Account {
    /// Its lines are in `commands.log` in the world's folder.
    pub(in crate::chaos) fn new(world: &World) -> Result<Self> {
        let path = world.folder().join("commands.log");
        let log = File::create(&path).with_context(|| path.display().to_string())?;
        Ok(Self { began: Instant::now(), outcomes: Mutex::default(), log: Mutex::new(log) })
    }

    /// Somebody did this, and it ended so; `said` is told if it went wrong.
    pub(in crate::chaos) fn note(
        &self,
        who: &str,
        kind: &'static str,
        what: &str,
        code: i32,
        said: &str,
    ) -> Result<()> {
        let mut outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        *outcomes.entry(kind).or_default().entry(code).or_default() += 1;
        drop(outcomes);
        let said = if code == 0 { "" } else { said.trim() }.replace('\n', " | ");
        self.line(&format!("{who} {kind}: {what} -> {code} {said}"))
    }

    /// One line with its time.
    pub(in crate::chaos) fn line(&self, text: &str) -> Result<()> {
        let line = format!("{:9.3} {}\n", self.began.elapsed().as_secs_f64(), text.trim_end());
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(log.write_all(line.as_bytes())?)
    }

    /// How many deeds.
    pub(super) fn n_deeds(&self) -> u32 {
        let outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        outcomes.values().flat_map(BTreeMap::values).sum()
    }

    /// By kind: how many, how many of them were done, refused, and ended otherwise.
    pub(in crate::chaos) fn print(&self) {
        let outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        anstream::println!("{:24} {:>6} {:>6} {:>8}  otherwise", "", "asked", "done", "refused");
        for (kind, codes) in outcomes.iter() {
            let n = |code: i32| codes.get(&code).copied().unwrap_or(0);
            let others = codes.iter().filter(|(code, _)| **code != 0 && **code != REFUSED);
            let others: Vec<String> = others.map(|(code, n)| format!("{n} × exit {code}")).collect();
            let asked: u32 = codes.values().sum();
            anstream::println!("{kind:24} {asked:6} {:6} {:8}  {}", n(0), n(REFUSED), others.join(", "));
        }
    }
}
