//! `[channel]`: how long programs with a channel are waited for.

use laneway_core::channel::Patience;
use laneway_core::duration;
use serde::{Deserialize, Deserializer};

/// The shortest time that a program can be given to answer, in milliseconds.
const SHORTEST_MS: u64 = 100;

/// `[channel]`. Times are texts like `500ms`, `30s`, `2m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ChannelConfig {
    /// Milliseconds within which a program has to say that it is ready.
    #[serde(deserialize_with = "time")]
    pub ready_timeout: u64,
    /// Milliseconds between two pings; one that misses three is restarted.
    #[serde(deserialize_with = "time")]
    pub heartbeat: u64,
}

impl Default for ChannelConfig {
    fn default() -> Self {
        let Patience { ready_ms, beat_ms } = Patience::default();
        Self { ready_timeout: ready_ms, heartbeat: beat_ms }
    }
}

impl From<ChannelConfig> for Patience {
    fn from(config: ChannelConfig) -> Self {
        Self { ready_ms: config.ready_timeout, beat_ms: config.heartbeat }
    }
}

fn time<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let text = String::deserialize(from)?;
    match duration::parse(&text).map(duration::millis).map_err(serde::de::Error::custom)? {
        ms if ms >= SHORTEST_MS => Ok(ms),
        ms => Err(serde::de::Error::custom(format!("{ms} ms is too short: at least {SHORTEST_MS} ms"))),
    }
}
