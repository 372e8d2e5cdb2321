//! A holder that lives and cannot be talked to: the folder of its run, and its socket with it, was deleted or damaged.
//!
//! It is known as the parent of the program that was recorded. It can only be asked to end, by a signal, and ends its
//! run in order then; how its program ended it has nobody to tell.

use std::path::Path;

use laneway_core::id::{LaneId, RunId};
use laneway_core::run::ProcessIdentity;
use laneway_wire::own::is_holder;
use laneway_wire::process::Process;
use rustix::process::Signal;
use tokio::sync::mpsc;

use super::link::{Registered, process, register};
use super::{Ask, Holders, Teller, Told};
use crate::sys::Watched;

/// A live program, and the holder that it belongs to.
pub(crate) struct CutOff {
    program: Watched,
    holder: Watched,
}

impl CutOff {
    /// Finds the holder of this very program. None if the program has ended, or has no holder.
    pub(crate) fn find(program: &ProcessIdentity) -> Option<Self> {
        // The same number after a reboot is another process.
        let boot_id = std::fs::read_to_string(Path::new("/proc/sys/kernel/random/boot_id")).ok()?;
        if boot_id.trim() != program.boot_id {
            return None;
        }
        let parent = || {
            let seen = Process::read(program.pid)?;
            (seen.identity.start_ticks == program.start_time && !seen.is_zombie()).then_some(seen.parent)
        };
        // Both are opened first and looked at again: a number may be another's by now.
        let (opened, holder) = (process(program.pid)?, parent()?);
        let found = Self { program: opened, holder: process(holder)? };
        (parent() == Some(holder) && is_holder(holder)).then_some(found)
    }

    /// Makes it known as the run's holder, for as long as it lives.
    pub(crate) fn watch(self, (run, lane): (RunId, LaneId), holders: &Holders, teller: &Teller) {
        let Some(Registered { asked, over, .. }) = register((run, lane), (false, false), holders) else {
            return;
        };
        let (holders, teller) = (holders.clone(), teller.clone());
        tokio::spawn(async move {
            self.follow(run, asked).await;
            holders.remove(run);
            // Told after it is removed: whoever hears it finds no holder any more.
            let _ = teller.send((run, Told::Gone));
            over.send_replace(true);
        });
    }

    /// Until the holder has ended, which it does when it is asked to, or when there is no program any more.
    async fn follow(self, run: RunId, mut asked: mpsc::Receiver<Ask>) {
        tokio::select! {
            () = self.program.ended() => {}
            // Those who ask learn from their dropped answers that the holder is gone.
            () = asked_to_end(&mut asked) => {}
        }
        if let Err(error) = self.holder.signal(Signal::TERM) {
            tracing::debug!(%run, %error, "a holder that was cut off has ended by itself");
        }
        self.holder.ended().await;
    }
}

/// Waits until somebody asks for more than to talk to the program, which nobody can any more.
async fn asked_to_end(asked: &mut mpsc::Receiver<Ask>) {
    while let Some(Ask::Taken { .. } | Ask::TellAgain { .. } | Ask::Say { .. }) = asked.recv().await {}
}
