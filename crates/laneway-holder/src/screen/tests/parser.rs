//! The short way of text and looks against the parser that reads everything.

use super::streams;
use super::support::{difference, seen_terminal};
use crate::screen::Size;
use crate::screen::emulator::Emulator;
use crate::screen::history::History;
use proptest::prelude::*;
use vte::ansi::{Processor, Timeout};

#[derive(Default)]
struct NoTimeout;

impl Timeout for NoTimeout {
    fn set_timeout(&mut self, _: std::time::Duration) {}
    fn clear_timeout(&mut self) {}
    fn pending_timeout(&self) -> bool {
        false
    }
}

fn emulator(columns: u16, rows: u16) -> Emulator {
    Emulator::new(Size::new(columns, rows), History::new(10_000))
}

fn history(emulator: &Emulator) -> Vec<(String, bool)> {
    let mut rows = Vec::new();
    emulator.terminal.history.for_each(|text, wrapped| rows.push((text.to_owned(), wrapped)));
    rows
}

/// Sequences that are whole, are not, or cut one another off, between text.
fn pieces() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let text = prop_oneof![
        "[a-z ]{1,30}".prop_map(String::into_bytes),
        Just("ü語─│é\u{301}\u{85}x".into()),
        // Bytes that are no character, and one that ends them.
        prop::collection::vec(0x80_u8..=0xff, 1..5).prop_map(|bytes| [bytes, b"x".to_vec()].concat()),
        Just(vec![0x7f]),
    ];
    let whole = prop::sample::select(vec![
        "\r\n",
        "\n",
        "\t",
        "\x08",
        "\x07",
        "\x0b",
        "\x1b[m",
        "\x1b[1;31m",
        "\x1b[44m",
        "\x1b[48;5;3;1m",
        "\x1b[4:3m",
        "\x1b[2K",
        "\x1b[K",
        "\x1b[2J",
        "\x1b[H",
        "\x1b[3;3H",
        "\x1b[A",
        "\x1b[3b",
        "\x1b[200b",
        "\x1b[5L",
        "\x1b[2M",
        "\x1b[3@",
        "\x1b[2P",
        "\x1b[4h",
        "\x1b[4l",
        "\x1b[?7l",
        "\x1b[?7h",
        "\x1b[20h",
        "\x1b[2;5r",
        "\x1b[r",
        "\x1bM",
        "\x1bD",
        "\x1b7",
        "\x1b8",
        "\x1b(0",
        "\x1b(B",
        "\x0e",
        "\x0f",
        "\x1b]0;title\x07",
        "\x1b]8;;http://x\x1b\\",
        "\x1b]8;;\x1b\\",
        "\x1b[?1049h",
        "\x1b[?1049l",
        "\x1bc",
        "\x1b#8",
        "\x1b[?2026h",
        "\x1b[2S",
        "\x1b[2T",
    ]);
    let part = prop::sample::select(vec![
        "\x1b",
        "\x1b[",
        "\x1b[3",
        "\x1b[3;",
        "\x1b[1\n2m",
        "\x1b[\x18",
        "\x1b]0;",
        "\x1b]0;\x1b[m",
        "\x1bP1$r",
        "\x1b\\",
        "\x1b_x",
        "\x1b^",
        "\x1b(",
        "\x1b\x1b[m",
        "\x1b[>4;m",
        "\x1b[?",
        "\x1b[99999m",
        "\x1b[1;2;3;4;5;6;7;8;9;1;2;3;4;5;6;7;31m",
    ]);
    let bytes = |text: &str| text.as_bytes().to_vec();
    // So many that of all rows of the screen it is known where they end.
    let lines =
        prop::collection::vec("[a-z]{0,12}\r\n", 10..30).prop_map(|lines| lines.concat().into_bytes());
    let piece = prop_oneof![3 => lines, 6 => text, 10 => whole.prop_map(bytes), 1 => part.prop_map(bytes)];
    prop::collection::vec(piece, 0..80)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_short_way_leads_where_the_parser_leads(
        (columns, rows) in streams::size(),
        pieces in pieces(),
        n_together in 1_usize..20,
    ) {
        let (mut short, mut long) = (emulator(columns, rows), emulator(columns, rows));
        for together in pieces.chunks(n_together) {
            short.advance(&together.concat());
        }
        let mut processor = Processor::<NoTimeout>::new();
        for piece in &pieces {
            processor.advance(&mut long.terminal, piece);
            long.terminal.ends.forget();
        }
        prop_assert_eq!(history(&short), history(&long));
        prop_assert_eq!(difference(&seen_terminal(&short.terminal), &seen_terminal(&long.terminal)), None);
    }
}
