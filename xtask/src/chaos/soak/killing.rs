//! Kills of programs, holders and the daemon, at moments and in an order that follow from the seed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::follower::Follower;
use crate::bench::measure::processes;
use crate::chaos::invariants::run_of;
use crate::chaos::operations::parent;
use crate::chaos::random::{Account, Random};
use crate::chaos::world::World;

/// The longest between two kills, in milliseconds.
const LONGEST_PEACE: u64 = 700;

/// He who kills.
pub(super) struct Killing {
    random: Random,
    /// The runs whose holder was killed: what they said last may be lost.
    pub(super) without_holder: BTreeSet<String>,
    n_programs: u32,
    n_daemons: u32,
}

/// Whom he means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Program,
    Holder,
    Daemon,
}

impl Killing {
    pub(super) fn new(seed: u64) -> Self {
        Self { random: Random::new(seed, 0), without_holder: BTreeSet::new(), n_programs: 0, n_daemons: 0 }
    }

    /// For so long, or until something is wrong; not those of the runs that are `spared`.
    pub(super) fn go_on(
        &mut self,
        time: Duration,
        with_daemon: bool,
        spared: &BTreeMap<String, u32>,
        world: &World,
        follower: &Follower,
        account: &Account,
    ) -> Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end && follower.peace(Duration::from_millis(self.random.below(LONGEST_PEACE)))
        {
            let kind = match self.random.below(10) {
                0..2 if with_daemon => Kind::Daemon,
                0..7 => Kind::Program,
                _ => Kind::Holder,
            };
            let which = self.random.below(1 << 16);
            let victims = victims(world, kind, spared);
            let Some(chosen) = usize::try_from(which)?.checked_rem(victims.len()) else { continue };
            let (pid, run, called) = &victims[chosen];
            let Some(process) = processes::open(*pid) else { continue };
            // Before it is, so that nobody asks in vain what he has said last.
            if kind == Kind::Holder {
                self.without_holder.insert(run.clone());
            }
            processes::kill(&process);
            account.line(&format!("killed {kind:?} {pid} {run} {called}"))?;
            match kind {
                Kind::Program => self.n_programs += 1,
                Kind::Daemon => self.n_daemons += 1,
                Kind::Holder => {}
            }
        }
        Ok(())
    }

    pub(super) fn in_words(&self) -> String {
        let Self { n_programs, n_daemons, without_holder, .. } = self;
        format!("{n_programs} programs, {} holders and {n_daemons} daemons killed", without_holder.len())
    }
}

/// The processes of this kind that are there: number, run and command line.
fn victims(world: &World, kind: Kind, spared: &BTreeMap<String, u32>) -> Vec<(u32, String, String)> {
    let all = processes::belonging_to(world.folder());
    let is_holder = |called: &str| called.contains("lane-holder run");
    let holders: BTreeSet<u32> =
        all.iter().filter(|(_, called)| is_holder(called)).map(|(pid, _)| *pid).collect();
    all.into_iter()
        .filter(|(pid, called)| match kind {
            Kind::Daemon => called.contains(" daemon serve "),
            Kind::Holder => holders.contains(pid),
            // A worker's own, and not what it has started.
            Kind::Program => parent(*pid).is_ok_and(|parent| holders.contains(&parent)),
        })
        .map(|(pid, called)| (pid, run_of(pid, &called).unwrap_or_default(), called))
        .filter(|(_, run, _)| !spared.contains_key(run))
        .collect()
}
