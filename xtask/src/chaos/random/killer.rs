//! One who kills the daemon and holders, at moments that follow from the seed.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use anyhow::Result;

use super::account::Account;
use super::numbers::Random;
use crate::bench::measure::processes;
use crate::chaos::world::World;

/// The longest that he waits, in milliseconds.
const LONGEST_PEACE: u64 = 800;

/// The same while he kills several in a row, in milliseconds: a daemon that just recovers.
const LONGEST_PEACE_IN_A_ROW: u64 = 300;

/// One kill: how long he waits before it, and whom he means.
#[derive(Debug, PartialEq, Eq)]
struct Kill {
    peace: Duration,
    /// If there is one; else the daemon.
    of_holder: bool,
    /// Of those that are there.
    which: u64,
}

/// He.
pub(super) struct Killer {
    random: Random,
    pub(super) n_daemons: u32,
    pub(super) n_holders: u32,
}

impl Killer {
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        Self { random: Random::new(seed, stream), n_daemons: 0, n_holders: 0 }
    }

    /// Whom he kills in a round: one, and sometimes three in a row.
    fn plan(&mut self) -> Vec<Kill> {
        let n_kills = if self.random.below(4) == 0 { 3 } else { 1 };
        let mut kill = |n: u32| {
            let longest = if n == 0 { LONGEST_PEACE } else { LONGEST_PEACE_IN_A_ROW };
            Kill {
                peace: Duration::from_millis(self.random.below(longest)),
                of_holder: self.random.below(3) == 0,
                which: self.random.below(64),
            }
        };
        (0..n_kills).map(&mut kill).collect()
    }

    /// Kills in one round, as long as others give commands.
    pub(super) fn kill_until(
        &mut self,
        world: &World,
        account: &Account,
        are_done: &Receiver<()>,
    ) -> Result<()> {
        for Kill { peace, of_holder, which } in self.plan() {
            match are_done.recv_timeout(peace) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            let all = processes::belonging_to(world.folder());
            let (holders, others): (Vec<_>, Vec<_>) =
                all.into_iter().partition(|(_, called)| called.contains("lane-holder run"));
            let of_holder = of_holder && !holders.is_empty();
            let mut victims = if of_holder { holders } else { others };
            victims.retain(|(_, called)| of_holder || called.contains(" daemon serve "));
            let Some(chosen) = usize::try_from(which)?.checked_rem(victims.len()) else { continue };
            if let Some(process) = processes::open(victims[chosen].0) {
                processes::kill(&process);
                account.line(&format!("killed {}", victims[chosen].1))?;
                *(if of_holder { &mut self.n_holders } else { &mut self.n_daemons }) += 1;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_he_kills_follows_from_the_seed() {
        let plans = |seed| {
            let mut killer = Killer::new(seed, 5);
            (0..50).map(|_| killer.plan()).collect::<Vec<_>>()
        };
        assert_eq!(plans(7), plans(7));
        assert_ne!(plans(7), plans(8));
        assert!(plans(7).iter().flatten().any(|kill| kill.of_holder));
        assert!(plans(7).iter().any(|round| round.len() == 3));
    }
}
