//! `lane wait` for a further pane of a worker, which no holder knows: the daemon tells that something was written in it,
//! and what it shows is looked at then.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use laneway_api::error::ErrorKind;
use laneway_api::request::{HearPane, PaneHeard, ReadText, Which};
use laneway_api::routes;
use laneway_api::view::{FurtherPane, TextView};
use laneway_core::run::Exit;

use super::wait::Waiting;
use crate::client::{Client, Request, WENT_AWAY};
use crate::failure::Failure;
use crate::waiting::{Condition, ENDING, Evidence};

/// How often in a row the daemon may let go of a pane of which nothing was heard.
const MAX_LOOKS: u32 = 3;

enum News {
    Heard(PaneHeard),
    Failed(Failure),
}

/// Waits until something holds of a further pane.
pub(super) fn wait(waiting: &Waiting<'_>, pane: &FurtherPane) -> Result<(usize, Evidence), Failure> {
    refuse_what_only_a_run_has(waiting)?;
    let waits = PaneWait { waiting, number: pane.number };
    if let Some(exit) = &pane.exit {
        return waits.ended(exit);
    }
    let output = waiting
        .conditions()
        .any(|(_, condition)| matches!(condition, Condition::Output(_) | Condition::Idle(_)));
    let request = waits.request(routes::WORKER_PANE).query(&HearPane { pane: Some(pane.number), output })?;
    let (tell, news) = channel();
    let client = waiting.context.client()?;
    std::thread::spawn(move || hear(&client, &request, &tell));
    waits.hold(&news)
}

fn refuse_what_only_a_run_has(waiting: &Waiting<'_>) -> Result<(), Failure> {
    let message = if waiting.conditions().any(|(_, condition)| matches!(condition, Condition::State(_))) {
        "a state is the worker's, and not one of a further pane: leave the pane out"
    } else if waiting.args.since.is_some() {
        "offsets are counted by a worker's holder, which does not know its further panes"
    } else {
        return Ok(());
    };
    Err(Failure::new(ErrorKind::Usage, "pane_without_runs", message))
}

/// Tells what is heard until its end. A daemon that ends meanwhile is started again.
fn hear(client: &Client, request: &Request, tell: &Sender<News>) {
    let mut n_in_vain = 0;
    while n_in_vain < MAX_LOOKS {
        n_in_vain += 1;
        let mut is_over = false;
        let told = client.ask_in_steps(request, |heard: PaneHeard| {
            if heard == PaneHeard::Written {
                n_in_vain = 0;
            }
            is_over |= matches!(heard, PaneHeard::Ended { .. });
            is_over |= tell.send(News::Heard(heard)).is_err();
            Ok(())
        });
        match told {
            _ if is_over => return,
            Ok(()) => {}
            Err(failure) if failure.is(ENDING) || failure.is(WENT_AWAY) => {}
            Err(failure) => {
                // Whoever waited may have left.
                let _ = tell.send(News::Failed(failure));
                return;
            }
        }
    }
    let message = "the daemon lets go of the pane again and again";
    let _ = tell.send(News::Failed(Failure::new(ErrorKind::Unreachable, "pane_not_heard", message)));
}

struct PaneWait<'a> {
    waiting: &'a Waiting<'a>,
    number: u32,
}

impl PaneWait<'_> {
    fn hold(&self, news: &Receiver<News>) -> Result<(usize, Evidence), Failure> {
        let mut silent_since = Instant::now();
        loop {
            let silence = self.silence();
            let quiet_at = silence.and_then(|(_, limit)| silent_since.checked_add(limit));
            let told = match [quiet_at, self.waiting.deadline].into_iter().flatten().min() {
                None => news.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(until) => news.recv_timeout(until.saturating_duration_since(Instant::now())),
            };
            let told = match (told, silence) {
                (Ok(told), _) => told,
                (Err(RecvTimeoutError::Timeout), Some((index, _)))
                    if quiet_at.is_some_and(|at| at <= Instant::now()) =>
                {
                    return Ok((index, Evidence::Idle { offset: 0 }));
                }
                (Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected), _) => {
                    return Err(self.waiting.timed_out(false));
                }
            };
            // What has come meanwhile is seen by the same look.
            for told in std::iter::once(told).chain(news.try_iter()) {
                match told {
                    News::Heard(PaneHeard::Listening | PaneHeard::Written) => silent_since = Instant::now(),
                    News::Heard(PaneHeard::Ended { exit }) => return self.ended(&exit),
                    News::Failed(failure) => return Err(failure),
                }
            }
            if let Some(held) = self.look()? {
                return Ok(held);
            }
        }
    }

    /// The shortest silence that is waited for.
    fn silence(&self) -> Option<(usize, Duration)> {
        let silences = self.waiting.conditions().filter_map(|(index, condition)| match condition {
            Condition::Idle(limit) => Some((index, *limit)),
            Condition::Exit | Condition::Output(_) | Condition::State(_) => None,
        });
        silences.min_by_key(|(_, limit)| *limit)
    }

    /// What holds of a pane whose program has ended.
    fn ended(&self, exit: &Exit) -> Result<(usize, Evidence), Failure> {
        // One that was closed shows nothing any more.
        if *exit != Exit::ClosedByHand
            && let Some(held) = self.look()?
        {
            return Ok(held);
        }
        let exits = self.waiting.conditions().find(|(_, condition)| matches!(condition, Condition::Exit));
        match exits {
            Some((index, _)) => Ok((index, Evidence::Exit(exit.clone()))),
            None => Err(self.waiting.ended_before(exit)),
        }
    }

    /// Looks whether a line matches.
    fn look(&self) -> Result<Option<(usize, Evidence)>, Failure> {
        let patterns: Vec<_> = self
            .waiting
            .conditions()
            .filter_map(|(index, condition)| match condition {
                Condition::Output(pattern) => Some((index, pattern)),
                Condition::Exit | Condition::Idle(_) | Condition::State(_) => None,
            })
            .collect();
        if patterns.is_empty() {
            return Ok(None);
        }
        let query = ReadText { which: Some(Which::All), pane: Some(self.number), ..ReadText::default() };
        let request = self.request(routes::WORKER_TEXT).query(&query)?;
        let text: TextView = self.waiting.context.client()?.ask_quietly(&request)?;
        let line = text.lines.into_iter().find_map(|line| {
            let (index, _) = patterns.iter().find(|(_, pattern)| pattern.is_match(line.as_bytes()))?;
            Some((*index, Evidence::Output { line: line.into_bytes(), offset: 0 }))
        });
        Ok(line)
    }

    fn request(&self, route: &str) -> Request {
        let doing = format!("waiting for {}", self.waiting.name);
        Request::get(doing, routes::with_target(route, &self.waiting.worker.to_string()))
    }
}
