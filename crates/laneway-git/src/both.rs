//! Two things at once, where the system has a thread for it.

use std::sync::{Mutex, PoisonError};
use std::thread;

/// Does both: at once if there is a thread to be had, else one after the other.
pub(crate) fn both<A: Send, B>(beside: impl FnOnce() -> A + Send, here: impl FnOnce() -> B) -> (A, B) {
    let work = Mutex::new(Some(beside));
    // Whoever comes first does it: the thread, or if there is none, this one.
    let take = || {
        let work = work.lock().unwrap_or_else(PoisonError::into_inner).take();
        work.expect("only one of the two takes it")()
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, take);
        let here = here();
        let beside = match thread {
            Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Err(_) => take(),
        };
        (beside, here)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_done() {
        let mut there = 0;
        assert_eq!(both(|| 1, || there = 2), (1, ()));
        assert_eq!(there, 2);
    }
}
