//! When the next output of a recording is due, and what keys do to that; a machine without clock or terminal of its
//! own.
//!
//! ```text
//!  Playing ──space──► Paused ──space──► Playing
//!                        └──.──► Paused (the next output is shown at once)
//!     any ── q, ctrl-c ──► Leave
//! ```

use std::time::{Duration, Instant};

const ESCAPE: u8 = 0x1b;
const BELL: u8 = 0x07;
const INTERRUPT: u8 = 0x03;

/// How fast to play.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Pace {
    /// 2 is twice as fast.
    pub(crate) speed: f64,
    /// Longer pauses are cut to this, before the speed counts.
    pub(crate) idle_limit: Option<Duration>,
}

impl Pace {
    fn wait(self, gap: Duration) -> Duration {
        let gap = self.idle_limit.map_or(gap, |limit| gap.min(limit));
        Duration::try_from_secs_f64(gap.as_secs_f64() / self.speed).unwrap_or(Duration::MAX)
    }
}

/// How it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Response {
    /// It does.
    Stay,
    /// The user has seen enough.
    Quit,
    /// The user wants all of this to end.
    Interrupt,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The next output is due then; none: never.
    Playing { due: Option<Instant> },
    /// The next output is so far away.
    Paused { left: Duration },
}

/// A recording that is being played.
#[derive(Debug)]
pub(crate) struct Player {
    pace: Pace,
    state: State,
    /// Where the output that was expected last stands.
    expected: Duration,
    keys: Keys,
}

impl Player {
    /// At the beginning, at `now`.
    pub(crate) fn new(pace: Pace, now: Instant) -> Self {
        let state = State::Playing { due: Some(now) };
        Self { pace, state, expected: Duration::ZERO, keys: Keys::Plain }
    }

    /// The next output stands at `at`; the one before it was shown.
    pub(crate) fn expect(&mut self, at: Duration) {
        let wait = self.pace.wait(at.saturating_sub(self.expected));
        self.expected = at;
        match &mut self.state {
            State::Playing { due } => *due = due.and_then(|due| due.checked_add(wait)),
            State::Paused { left } => *left = wait,
        }
    }

    /// Whether the next output is to be shown.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|due| due <= now)
    }

    /// When the next output is due; none: not before a key is pressed.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Playing { due } => due,
            State::Paused { .. } => None,
        }
    }

    /// Takes what was typed. The flag is true if the next output is to be shown at once.
    pub(crate) fn typed(&mut self, bytes: &[u8], now: Instant) -> (Response, bool) {
        // An escape that nothing followed was the key.
        if self.keys == Keys::Escape {
            self.keys = Keys::Plain;
        }
        for byte in bytes {
            if !self.keys.is_key(*byte) {
                continue;
            }
            match (byte, self.state) {
                (b'q', _) => return (Response::Quit, false),
                (&INTERRUPT, _) => return (Response::Interrupt, false),
                (b' ', State::Playing { due }) => {
                    let left = due.map_or(Duration::MAX, |due| due.saturating_duration_since(now));
                    self.state = State::Paused { left };
                }
                (b' ', State::Paused { left }) => {
                    self.state = State::Playing { due: now.checked_add(left) };
                }
                (b'.', State::Paused { .. }) => return (Response::Stay, true),
                _ => {}
            }
        }
        (Response::Stay, false)
    }
}

/// Tells keys from what terminals send by themselves: reports and answers to what a recording asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keys {
    Plain,
    Escape,
    /// In `ESC [ …` or `ESC O …`.
    Sequence,
    /// In a string that ends with `ESC \` or a bell.
    Text,
}

impl Keys {
    /// Whether a byte stands for itself.
    fn is_key(&mut self, byte: u8) -> bool {
        let (next, is_key) = match (*self, byte) {
            (_, ESCAPE) => (Keys::Escape, false),
            (Keys::Plain, _) => (Keys::Plain, true),
            (Keys::Escape, b'[' | b'O') => (Keys::Sequence, false),
            (Keys::Escape, b']' | b'P' | b'X' | b'^' | b'_') => (Keys::Text, false),
            (Keys::Escape, _) => (Keys::Plain, false),
            (Keys::Sequence, 0x40..=0x7e) => (Keys::Plain, false),
            // Not what a sequence goes on with.
            (Keys::Sequence, 0..0x20) => (Keys::Plain, true),
            (Keys::Sequence, _) => (Keys::Sequence, false),
            (Keys::Text, BELL) => (Keys::Plain, false),
            (Keys::Text, INTERRUPT) => (Keys::Plain, true),
            (Keys::Text, _) => (Keys::Text, false),
        };
        *self = next;
        is_key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REAL_TIME: Pace = Pace { speed: 1.0, idle_limit: None };

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// When output at these moments is shown, counted from the beginning.
    fn shown(pace: Pace, moments: &[u64]) -> Vec<u128> {
        let now = Instant::now();
        let mut player = Player::new(pace, now);
        let mut due = |moment: &u64| {
            player.expect(ms(*moment));
            let due = player.deadline().unwrap();
            assert!(player.is_due(due));
            assert!(due.checked_sub(ms(1)).is_some_and(|before| !player.is_due(before)));
            (due - now).as_millis()
        };
        moments.iter().map(&mut due).collect()
    }

    #[test]
    fn output_comes_when_it_came_or_faster_and_pauses_are_cut() {
        assert_eq!(shown(REAL_TIME, &[0, 100, 100, 5_000]), [0, 100, 100, 5_000]);
        assert_eq!(shown(Pace { speed: 4.0, ..REAL_TIME }, &[100, 500]), [25, 125]);
        assert_eq!(shown(Pace { speed: 0.5, ..REAL_TIME }, &[100]), [200]);
        let cut = Pace { idle_limit: Some(ms(200)), ..REAL_TIME };
        assert_eq!(shown(cut, &[50, 5_000, 5_100]), [50, 250, 350]);
        assert_eq!(shown(Pace { speed: 2.0, ..cut }, &[5_000]), [100]);
        let mut player = Player::new(Pace { speed: 1e-300, ..REAL_TIME }, Instant::now());
        player.expect(ms(1));
        assert_eq!(player.deadline(), None, "so slow that it never comes");
    }

    #[test]
    fn space_holds_it_and_lets_it_go_on_where_it_was() {
        let begin = Instant::now();
        let mut player = Player::new(REAL_TIME, begin);
        player.expect(ms(1_000));
        assert_eq!(player.typed(b" ", begin + ms(400)), (Response::Stay, false));
        assert_eq!(player.deadline(), None);
        assert_eq!(player.typed(b" ", begin + ms(60_000)), (Response::Stay, false));
        assert_eq!(player.deadline(), Some(begin + ms(60_600)));
    }

    #[test]
    fn a_dot_shows_the_next_while_it_is_held() {
        let begin = Instant::now();
        let mut player = Player::new(REAL_TIME, begin);
        player.expect(ms(1_000));
        assert_eq!(player.typed(b".", begin), (Response::Stay, false), "it means nothing while it plays");
        player.typed(b" ", begin);
        assert_eq!(player.typed(b".", begin), (Response::Stay, true));
        player.expect(ms(1_500));
        assert_eq!(player.deadline(), None, "and it is still held");
        player.typed(b" ", begin);
        assert_eq!(player.deadline(), Some(begin + ms(500)));
    }

    #[test]
    fn keys_that_leave_are_found_among_what_terminals_send() {
        for (pieces, response) in [
            (&[&b"q"[..]][..], Response::Quit),
            (&[b"x\x03"], Response::Interrupt),
            (&[b"\x1b[?64;1;2c\x1b[<0;5;5M\x1bOA\x1b]11;rgb:0/0/0\x1b\\\x1bP1$r q\x1b\\"], Response::Stay),
            (&[b"\x1b[?6", b"4;1q"], Response::Stay),
            (&[b"\x1b]11;q\x07q"], Response::Quit),
            (&[b"\x1b", b"q"], Response::Quit),
            (&[b"\x1bq"], Response::Stay),
            (&[b"\x1b[5\x03"], Response::Interrupt),
            (&[b"\x1b]never\x03"], Response::Interrupt),
        ] {
            let now = Instant::now();
            let mut player = Player::new(REAL_TIME, now);
            let last = pieces.iter().map(|piece| player.typed(piece, now).0).last();
            assert_eq!(last, Some(response), "{pieces:?}");
        }
    }
}
