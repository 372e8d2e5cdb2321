//! Random program output.

use proptest::prelude::*;

/// Bytes that a failing test shows as text.
#[derive(Clone)]
pub(super) struct Output(pub(super) Vec<u8>);

impl std::fmt::Debug for Output {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

/// Text of all kinds: ASCII, wide, combining, joined, invalid.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        6 => "[a-zA-Z0-9 .,_~|-]{1,30}",
        1 => "[a-z]{30,200}",
        1 => " {1,30}",
        1 => Just("語言日本".to_owned()),
        1 => Just("字".to_owned()),
        1 => Just("e\u{301}o\u{308}\u{323}".to_owned()),
        1 => Just("\u{301}".to_owned()),
        1 => Just("👩\u{200d}👩\u{200d}👧 🇩🇪 ☎\u{fe0f} 👍🏽".to_owned()),
        1 => Just("─│┌┐└┘░▒▓".to_owned()),
        1 => Just("اَلْعَرَبِيَّةُ שָׁלוֹם".to_owned()),
    ];
    prop_oneof![
        30 => part.prop_map(String::into_bytes),
        1 => Just(vec![0xff, 0xc3, b'a', 0xe8, 0xaa]),
    ]
}

fn sequence(prefix: &'static str, last: &'static str) -> impl Strategy<Value = Vec<u8>> {
    (prop::collection::vec(prop_oneof![8 => 0_u16..14, 1 => 0_u16..200], 0..3)).prop_map(move |numbers| {
        let numbers: Vec<String> = numbers.iter().map(u16::to_string).collect();
        format!("\x1b[{prefix}{}{last}", numbers.join(";")).into_bytes()
    })
}

fn control() -> impl Strategy<Value = Vec<u8>> {
    prop::sample::select(vec![
        "\r\n",
        "\r\n",
        "\r\n",
        "\n",
        "\n\n\n",
        "\r",
        "\t",
        "\t\t",
        "\x08",
        "\x07",
        "\x0b",
        "\x0e",
        "\x0f",
        "\x1bD",
        "\x1bE",
        "\x1bM",
        "\x1bM\x1bM",
        "\x1b7",
        "\x1b8",
        "\x1bH",
        "\x1b(0",
        "\x1b(B",
        "\x1b)0",
        "\x1b=",
        "\x1b>",
        "\x1b#8",
        "\x1b\\",
        "\x1b[b",
        "\x1b[2b",
        "\x1b[300b",
        "\x1b(A",
        "\x1b*0",
        "\x1b+0",
        "\x1b[!p",
        "\x1b[?5W",
        "\x18",
        "\x1b]0;cut\x18",
        "\x1b]2;cut off",
        "\x1b[3",
        "\x1bPq#0;2;0;0;0~~@@\x1b\\",
        "\x1b_Gf=100;AAAA\x1b\\",
    ])
    .prop_map(|text| text.as_bytes().to_vec())
}

fn movement() -> impl Strategy<Value = Vec<u8>> {
    prop::sample::select(vec![
        "A", "B", "C", "D", "E", "F", "G", "H", "H", "d", "`", "a", "e", "f", "I", "J", "K", "K", "X", "P",
        "Z", "@", "L", "M", "S", "T", "r", "r", "g", "s", "u",
    ])
    .prop_flat_map(|last| sequence("", last))
}

fn look() -> impl Strategy<Value = Vec<u8>> {
    let parameter = prop_oneof![
        4 => (0_u16..10).prop_map(|number| number.to_string()),
        1 => (21_u16..30).prop_map(|number| number.to_string()),
        4 => (30_u16..50).prop_map(|number| number.to_string()),
        2 => (90_u16..108).prop_map(|number| number.to_string()),
        2 => (0_u16..256).prop_map(|number| format!("38;5;{number}")),
        2 => (0_u16..256).prop_map(|number| format!("48;2;{number};1;2")),
        1 => (0_u16..256).prop_map(|number| format!("58:2::{number}:3:4")),
        1 => (0_u16..256).prop_map(|number| format!("58:5:{number}")),
        1 => (0_u16..6).prop_map(|number| format!("4:{number}")),
    ];
    let colours = prop::collection::vec(parameter, 0..4)
        .prop_map(|parameters| format!("\x1b[{}m", parameters.join(";")).into_bytes());
    let links = prop::sample::select(vec![
        "\x1b]8;;https://example.org/a;b\x1b\\",
        "\x1b]8;id=one;file:///b\x07",
        "\x1b]8;;\x1b\\",
        "\x1b]8;;\x1b\\",
    ])
    .prop_map(|text| text.as_bytes().to_vec());
    prop_oneof![6 => colours, 1 => links]
}

/// Modes and all that is set once.
fn setting() -> impl Strategy<Value = Vec<u8>> {
    let private = (
        prop::sample::select(vec![
            1, 5, 6, 7, 7, 9, 12, 25, 66, 1000, 1002, 1003, 1004, 1005, 1006, 1007, 1015, 1016, 1042, 1048,
            2004, 2026, 2027, 2048,
        ]),
        prop::sample::select(vec!['h', 'l']),
    )
        .prop_map(|(mode, letter)| format!("\x1b[?{mode}{letter}").into_bytes());
    let others = prop::sample::select(vec![
        "\x1b[4h",
        "\x1b[4l",
        "\x1b[4l",
        "\x1b[20h",
        "\x1b[20l",
        "\x1b[?1049h",
        "\x1b[?1049h",
        "\x1b[?47h",
        "\x1b[?1047l",
        "\x1b[?1049l",
        "\x1b[?1049l",
        "\x1b[0 q",
        "\x1b[3 q",
        "\x1b[5 q",
        "\x1b]0;title\x07",
        "\x1b]2;t;u ü\x1b\\",
        "\x1b[22;0t",
        "\x1b[23t",
        "\x1b[>1u",
        "\x1b[>31u",
        "\x1b[<u",
        "\x1b[=5;2u",
        "\x1b[3g",
        "\x1b[g",
        "\x1b[>4;2m",
        "\x1b]4;3;#102030\x07",
        "\x1b]11;rgb:11/22/33\x1b\\",
        "\x1b]104\x07",
        "\x1b[?3h",
        "\x1b[r",
    ])
    .prop_map(|text| text.as_bytes().to_vec());
    prop_oneof![private, others]
}

/// What takes a screen away.
fn clearing() -> impl Strategy<Value = Vec<u8>> {
    prop::sample::select(vec!["\x1b[2J", "\x1b[2J", "\x1b[H\x1b[2J", "\x1b[3J", "\x1bc", "\x1b[H\x1b[J"])
        .prop_map(|text| text.as_bytes().to_vec())
}

/// Output of which the grid's crate, as it comes, makes what other terminals make (`agreed` has the rest).
pub(super) fn undisputed() -> impl Strategy<Value = Output> {
    let text = prop_oneof![
        6 => "[a-zA-Z0-9 .,_~|-]{1,30}",
        1 => "[a-z]{30,200}",
        1 => Just("e\u{301}o\u{308}\u{323}─│┌".to_owned()),
        1 => Just("اَلْعَرَبِيَّةُ".to_owned()),
    ];
    let fixed = prop::sample::select(vec![
        "\r\n",
        "\r\n",
        "\n",
        "\r",
        "\r\t",
        "\x08",
        "\x0b",
        "\x1bD",
        "\x1bE",
        "\x1bM",
        "\x1b7x\x1b[2;2H\x1b[7my\x1b8",
        "\x1bH",
        "\x1b(0",
        "\x1b(B",
        "\x1b[K",
        "\x1b[1K",
        "\x1b[2K",
        "\x1b[J",
        "\x1b[2J",
        "\x1b[2b",
        "\x1b[3g",
        "\x1b[g",
        "\x1b[?25l",
        "\x1b[?25h",
        "\x1b[?1h",
        "\x1b[?2004h",
        "\x1b[?1049h",
        "\x1b[?1049l",
        "\x1b[1;3r",
        "\x1b[2;4r",
        "\x1b[r",
        "\x1b[1;31m",
        "\x1b[m",
        "\x1b[4:3;58:5:9m",
        "\x1b[48;2;1;2;3m",
        "\x1b[7;9m",
        "\x1b[27;29;39;49m",
        "\x1b[38;5;200m",
        "\x1b]8;id=a;http://x\x07",
        "\x1b]8;;\x07",
        "\x1b[2026h",
    ]);
    let moving =
        prop::sample::select(vec!["C", "D", "H", "d", "`", "a", "f", "I", "X", "@", "L", "M", "S", "T"])
            .prop_flat_map(|last| sequence("", last));
    let piece = prop_oneof![
        6 => text.prop_map(String::into_bytes),
        6 => fixed.prop_map(|text| text.as_bytes().to_vec()),
        3 => moving,
    ];
    prop::collection::vec(piece, 0..120).prop_map(|pieces| Output(pieces.concat()))
}

/// Output as programs might make it.
pub(super) fn output() -> impl Strategy<Value = Output> {
    let piece = prop_oneof![
        12 => text(),
        10 => control(),
        8 => movement(),
        5 => look(),
        3 => setting(),
        1 => clearing(),
    ];
    prop::collection::vec(piece, 0..120).prop_map(|pieces| Output(pieces.concat()))
}

/// What may happen to a terminal whose program prints lines.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Lines are printed.
    Print(String),
    /// The size changes.
    Resize(u16, u16),
    /// The screen is cleared and begun anew.
    Clear,
    /// The same, and the history is cleared.
    ClearAll,
    /// RIS.
    Reset,
    /// The alternate screen is used, in which the size may change.
    Alternate(Output, Option<(u16, u16)>),
    /// Lines are printed above a footer that a scroll region pins.
    Pinned(String, u16),
}

/// Lines as they are read again: no blanks and no combining characters at their ends, where they may be lost.
fn plain_lines() -> impl Strategy<Value = String> {
    let text = text().prop_map(|text| format!(".{}.", String::from_utf8(text).unwrap_or_default()));
    let piece = prop_oneof![12 => text, 8 => Just("\r\n".to_owned())];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

/// Steps in which every line has one place, so that its way can be told.
pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => plain_lines().prop_map(Step::Print),
        6 => size().prop_map(|(columns, rows)| Step::Resize(columns, rows)),
        2 => Just(Step::Clear),
        1 => Just(Step::ClearAll),
        1 => Just(Step::Reset),
        2 => (output(), prop::option::of(size())).prop_map(|(output, size)| Step::Alternate(output, size)),
        2 => (plain_lines(), 1_u16..4).prop_map(|(output, footer)| Step::Pinned(output, footer)),
    ];
    prop::collection::vec(step, 1..12)
}

/// Places to cut at.
pub(super) fn cuts() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    prop::collection::vec(any::<prop::sample::Index>(), 0..20)
}

/// Bytes that mean something more often than chance has it.
pub(super) fn any_bytes() -> impl Strategy<Value = Output> {
    let byte = prop_oneof![
        4 => any::<u8>().prop_map(|byte| vec![byte]),
        2 => (0_u8..0x80).prop_map(|byte| vec![byte]),
        2 => Just(vec![0x1b]),
        1 => Just(b"\x1b[".to_vec()),
        2 => (b'0'..=b';').prop_map(|byte| vec![byte]),
        1 => prop::sample::select(vec!["\x1b]", "\x1bP", "\x1b_", "\x1b\\", "\x07", "\x1b]8;;", "語", "\u{301}"])
            .prop_map(|text| text.as_bytes().to_vec()),
    ];
    // One of the lengths at which a string becomes too long to be held.
    let long = prop::option::weighted(
        0.3,
        prop::sample::select(vec![
            100_usize, 4_100, 8_180, 8_185, 8_188, 8_189, 8_190, 8_191, 8_192, 8_193, 8_300,
        ]),
    );
    let pieces = || prop::collection::vec(byte.clone(), 0..60);
    (pieces(), long, pieces()).prop_map(|(before, long, after)| {
        Output([before.concat(), vec![b'x'; long.unwrap_or(0)], after.concat()].concat())
    })
}

/// A size that makes rows wrap and leave.
pub(super) fn size() -> impl Strategy<Value = (u16, u16)> {
    (2_u16..40, 2_u16..14)
}
