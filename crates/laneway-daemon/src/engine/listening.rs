//! What holders tell of their own accord is recorded: of each in the order it tells it, and of several at once in one
//! transaction. Programs that talk much, on a disk that takes its time, hold up neither an end nor the answer to a ping.

use std::collections::HashMap;

use futures_util::future::join_all;
use laneway_core::id::RunId;
use laneway_fault::fault_point;
use tokio::sync::mpsc;

use super::Engine;
use super::runs::exit_of;
use crate::holders::Told;

/// What is taken at once of what is there: far more than there are holders, as a rule.
const AT_ONCE: usize = 1024;

impl Engine {
    /// For as long as somebody may tell something.
    pub(crate) async fn listen_to_holders(self, mut told: mpsc::UnboundedReceiver<(RunId, Told)>) {
        let mut there = Vec::new();
        while told.recv_many(&mut there, AT_ONCE).await > 0 {
            let of_each = by_run(there.drain(..));
            join_all(of_each.into_iter().map(|(run, told)| self.take_in_order(run, told))).await;
        }
    }

    async fn take_in_order(&self, run: RunId, told: Vec<Told>) {
        for told in told {
            let request = self.own_request();
            match told {
                Told::Exited(exited) => {
                    fault_point!("run.exit-told");
                    let (exit, at) = exit_of(&exited);
                    self.record_end(run, exit, at, request).await;
                }
                Told::Said { first, said } => self.hear(run, first, &said).await,
                Told::Gone => {
                    let engine = self.clone();
                    self.in_background(async move { engine.holder_gone(run, request).await });
                }
            }
        }
    }
}

/// What is told of each run, in order. What a program has said bit by bit is one thing.
fn by_run(told: impl Iterator<Item = (RunId, Told)>) -> Vec<(RunId, Vec<Told>)> {
    let mut of_each: Vec<(RunId, Vec<Told>)> = Vec::new();
    let mut places: HashMap<RunId, usize> = HashMap::new();
    for (run, told) in told {
        let place = *places.entry(run).or_insert_with(|| {
            of_each.push((run, Vec::new()));
            of_each.len() - 1
        });
        let before = &mut of_each[place].1;
        match (before.last_mut(), told) {
            (Some(Told::Said { first, said }), Told::Said { first: next, said: more })
                if *first + said.len() as u64 == next =>
            {
                said.extend(more);
            }
            (_, told) => before.push(told),
        }
    }
    of_each
}

#[cfg(test)]
mod tests {
    use laneway_wire::message::Said;
    use ulid::Ulid;

    use super::*;

    fn run(number: u128) -> RunId {
        RunId::from_ulid(Ulid(number))
    }

    fn said(first: u64, n: usize) -> Told {
        Told::Said { first, said: vec![Said::Closed; n] }
    }

    /// In words: the number of the first and how many of what was said, and where the end is.
    fn in_words(told: &[Told]) -> Vec<String> {
        let word = |told: &Told| match told {
            Told::Said { first, said } => format!("{first}+{}", said.len()),
            Told::Exited(_) => "end".to_owned(),
            Told::Gone => "gone".to_owned(),
        };
        told.iter().map(word).collect()
    }

    #[test]
    fn what_each_tells_stays_in_order_and_what_follows_on_what_was_said_is_put_together() {
        let (a, b) = (run(1), run(2));
        let told = [
            (a, said(1, 2)),
            (b, said(1, 1)),
            (a, said(3, 1)),
            (a, Told::Gone),
            (a, said(4, 1)),
            (b, said(1, 2)),
        ];
        let of_each = by_run(told.into_iter());
        assert_eq!(of_each.iter().map(|(run, _)| *run).collect::<Vec<_>>(), [a, b]);
        assert_eq!(in_words(&of_each[0].1), ["1+3", "gone", "4+1"]);
        assert_eq!(in_words(&of_each[1].1), ["1+1", "1+2"], "what is told again stays apart");
    }
}
