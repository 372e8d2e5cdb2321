//! An alarm at a moment of the wall clock, which also rings when somebody sets the clock.
//!
//! A timer of the runtime counts from when it was set: it knows neither of a clock that jumps nor of a machine that
//! sleeps. The system's own does.

use std::future::pending;
use std::io;
use std::os::fd::OwnedFd;

use laneway_core::time::Timestamp;
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

use crate::sys;

/// An alarm; not set at first.
pub(crate) struct Alarm(AsyncFd<OwnedFd>);

impl Alarm {
    /// A new one. To be made where the runtime is.
    pub(crate) fn new() -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        sys::watch(timer).map(Self).ok_or_else(|| io::Error::other("a timer cannot be waited for"))
    }

    /// Sets it to this moment, in place of the one before; a moment that is over rings at once. None: it is not set.
    /// True if the clock was set since the last time: what was counted by it before is to be counted anew.
    pub(crate) fn set(&self, at: Option<Timestamp>) -> io::Result<bool> {
        let nothing = Timespec { tv_sec: 0, tv_nsec: 0 };
        let it_value = match at {
            // All zero would take it off.
            Some(Timestamp(micros)) if micros > 0 => {
                Timespec { tv_sec: micros / 1_000_000, tv_nsec: micros % 1_000_000 * 1_000 }
            }
            Some(_) => Timespec { tv_sec: 0, tv_nsec: 1 },
            None => nothing,
        };
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        match timerfd_settime(self.0.get_ref(), flags, &Itimerspec { it_interval: nothing, it_value }) {
            Ok(_) => Ok(false),
            // The alarm is set all the same, and will not ring for that any more.
            Err(Errno::CANCELED) => Ok(true),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits until the clock shows the moment, or was set.
    pub(crate) async fn rings(&self) {
        let mut count = [0_u8; 8];
        loop {
            let Ok(mut ready) = self.0.readable().await else { return pending().await };
            match rustix::io::read(self.0.get_ref(), &mut count) {
                Ok(_) | Err(Errno::CANCELED) => return,
                Err(Errno::AGAIN | Errno::INTR) => ready.clear_ready(),
                Err(errno) => {
                    tracing::error!(%errno, "an alarm cannot be read");
                    return pending().await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::now;

    #[tokio::test]
    async fn it_rings_at_its_moment_once_and_at_once_if_that_is_over() {
        let rings =
            async |alarm: &Alarm, limit: Duration| tokio::time::timeout(limit, alarm.rings()).await.is_ok();
        let (soon, long) = (Duration::from_millis(50), Duration::from_secs(20));
        let alarm = Alarm::new().unwrap();
        assert!(!rings(&alarm, soon).await, "it was not set");
        for over in [Timestamp(0), Timestamp(-5), Timestamp(1), now()] {
            alarm.set(Some(over)).unwrap();
            assert!(rings(&alarm, long).await, "{over:?}");
            assert!(!rings(&alarm, soon).await, "it has rung");
        }
        let at = now().plus_millis(300);
        alarm.set(Some(at)).unwrap();
        assert!(rings(&alarm, long).await);
        assert!(at <= now(), "not before");
        alarm.set(Some(now().plus_millis(300))).unwrap();
        alarm.set(Some(Timestamp(i64::MAX))).unwrap();
        assert!(!rings(&alarm, Duration::from_millis(400)).await, "it was set to another moment");
        alarm.set(None).unwrap();
        assert!(!rings(&alarm, soon).await);
    }
}
