//! Memory and descriptors of the daemon and of holders that live long: the same at one moment and at a later one at
//! which as much runs.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::bench::measure::processes::{dirty_mib, n_descriptors};

/// What memory may grow by and still be flat: how full the heap's pages are differs.
const FLAT: f64 = 1.15;

/// The same in MiB, for what is small.
const FLAT_MIB: f64 = 2.0;

/// Descriptors that may be open at the moment for something that is under way.
const UNDER_WAY: usize = 4;

/// What is used at a moment.
#[derive(Debug, Clone)]
pub(super) struct Moment {
    daemon: Used,
    /// By their number.
    holders: BTreeMap<u32, Used>,
}

/// Of one process.
#[derive(Debug, Clone, Copy)]
struct Used {
    /// Memory that was written to and is shared with nobody, in MiB.
    mib: f64,
    n_descriptors: usize,
}

impl Used {
    fn by(pid: u32) -> Result<Self> {
        Ok(Self { mib: dirty_mib(pid)?, n_descriptors: n_descriptors(pid)? })
    }

    /// In what it has grown since `before`.
    fn grown_since(self, before: Self, who: &str) -> Vec<String> {
        let mut grown = Vec::new();
        if self.mib > (before.mib * FLAT).max(before.mib + FLAT_MIB) {
            grown.push(format!("the memory of {who} grew from {:.1} to {:.1} MiB", before.mib, self.mib));
        }
        if self.n_descriptors > before.n_descriptors + UNDER_WAY {
            let (from, to) = (before.n_descriptors, self.n_descriptors);
            grown.push(format!("the open descriptors of {who} grew from {from} to {to}"));
        }
        grown
    }
}

impl Moment {
    /// What the daemon and these holders use.
    pub(super) fn now(daemon: u32, holders: Vec<u32>) -> Result<Self> {
        let holders = holders.into_iter().map(|pid| Ok((pid, Used::by(pid)?))).collect::<Result<_>>()?;
        Ok(Self { daemon: Used::by(daemon)?, holders })
    }

    fn grown_since(&self, before: &Self, when: &str) -> Vec<String> {
        let mut grown = self.daemon.grown_since(before.daemon, &format!("the daemon {when}"));
        for (pid, used) in &self.holders {
            if let Some(before) = before.holders.get(pid) {
                grown.extend(used.grown_since(*before, &format!("holder {pid} {when}")));
            }
        }
        grown
    }
}

/// What was used by daemons of the same age, one in each season, and early and late in a long life.
#[derive(Debug, Default)]
pub(super) struct Costs {
    seasons: Vec<Moment>,
    long_life: Vec<Moment>,
}

impl Costs {
    pub(super) fn add_season(&mut self, moment: Moment) {
        self.seasons.push(moment);
    }

    pub(super) fn add_of_long_life(&mut self, moment: Moment) {
        self.long_life.push(moment);
    }

    /// What has grown.
    pub(super) fn grown(&self) -> Vec<String> {
        let between = |moments: &[Moment], when: &str| match moments {
            [first, .., last] => last.grown_since(first, when),
            _ => Vec::new(),
        };
        let mut grown = between(&self.seasons, "from the first season to the last");
        grown.extend(between(&self.long_life, "in its long life"));
        grown
    }

    /// At the last moment.
    pub(super) fn in_words(&self) -> String {
        let Some(last) = self.long_life.last().or(self.seasons.last()) else {
            return "nothing is measured".to_owned();
        };
        format!(
            "the daemon has {:.1} MiB and {} descriptors, {} holders have {:.1} MiB",
            last.daemon.mib,
            last.daemon.n_descriptors,
            last.holders.len(),
            last.holders.values().map(|used| used.mib).sum::<f64>()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(mib: f64, n_descriptors: usize) -> Moment {
        let daemon = Used { mib: 20.0, n_descriptors: 50 };
        Moment { daemon, holders: BTreeMap::from([(7, Used { mib, n_descriptors })]) }
    }

    #[test]
    fn what_grows_is_told_and_what_swings_is_not() {
        let mut costs = Costs::default();
        for (mib, n_descriptors) in [(10.0, 9), (12.5, 14), (11.9, 12)] {
            costs.add_season(moment(mib, n_descriptors));
        }
        assert_eq!(costs.grown(), Vec::<String>::new());
        costs.add_season(moment(12.5, 14));
        assert_eq!(costs.grown().len(), 2, "memory and descriptors");
        for mib in [14.2, 14.3, 17.0] {
            costs.add_of_long_life(moment(mib, 14));
        }
        assert_eq!(costs.grown().len(), 3, "{:?}", costs.grown());
    }
}
