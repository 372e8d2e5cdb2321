//! `[restart]`: how the restarts of workers are paced.

use laneway_core::duration;
use laneway_core::supervise::Pace;
use serde::{Deserialize, Deserializer};

/// The shortest time before a restart, in milliseconds: a program that cannot start must not fill the machine.
const SHORTEST_MS: u64 = 10;

/// The shortest time after which a run has stayed up, in milliseconds: what ends sooner has not begun its work.
const SHORTEST_STEADY_MS: u64 = 1_000;

/// The most failures that can be borne: each of them is kept with its moment.
const MOST_FAILURES: u32 = 1_000;

/// `[restart]`. Times are texts like `500ms`, `1.5s`, `2m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RestartConfig {
    /// Milliseconds before the first restart; twice as many before each one after it.
    #[serde(deserialize_with = "delay")]
    pub base: u64,
    /// The most milliseconds before a restart.
    #[serde(deserialize_with = "delay")]
    pub ceiling: u64,
    /// Failures within the window that are borne.
    #[serde(deserialize_with = "failures")]
    pub max: u32,
    /// Milliseconds for which a failure counts.
    #[serde(deserialize_with = "time")]
    pub window: u64,
    /// Milliseconds after which a run has stayed up, and the next restart is as soon as the first.
    #[serde(deserialize_with = "steady")]
    pub steady: u64,
}

impl Default for RestartConfig {
    fn default() -> Self {
        let Pace { base_ms, ceiling_ms, max_failures, window_ms, steady_ms } = Pace::default();
        Self { base: base_ms, ceiling: ceiling_ms, max: max_failures, window: window_ms, steady: steady_ms }
    }
}

impl From<RestartConfig> for Pace {
    fn from(config: RestartConfig) -> Self {
        let RestartConfig { base, ceiling, max, window, steady } = config;
        Self { base_ms: base, ceiling_ms: ceiling, max_failures: max, window_ms: window, steady_ms: steady }
    }
}

fn time<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let text = String::deserialize(from)?;
    duration::parse(&text).map(duration::millis).map_err(serde::de::Error::custom)
}

fn delay<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    at_least(SHORTEST_MS, from)
}

fn steady<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    at_least(SHORTEST_STEADY_MS, from)
}

fn at_least<'de, D: Deserializer<'de>>(shortest_ms: u64, from: D) -> Result<u64, D::Error> {
    let ms = time(from)?;
    if ms >= shortest_ms {
        return Ok(ms);
    }
    Err(serde::de::Error::custom(format!("{ms} ms is too short: at least {shortest_ms} ms")))
}

fn failures<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let failures = i64::deserialize(from)?;
    u32::try_from(failures)
        .ok()
        .filter(|failures| *failures <= MOST_FAILURES)
        .ok_or_else(|| serde::de::Error::custom(format!("max is {failures}: it can be 0 to {MOST_FAILURES}")))
}
