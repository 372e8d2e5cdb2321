//! The one place where the holder reads the clocks.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// One moment on both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// For limits and waits.
    pub(crate) instant: Instant,
    /// For records: microseconds since 1970 UTC.
    pub(crate) unix_micros: u64,
}

impl Moment {
    pub(crate) fn now() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the one place of this process that reads the clock")]
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { instant: Instant::now(), unix_micros: since_1970.as_micros() as u64 }
    }
}
