//! What the programs write: made from one seed, so that each terminal gets the same bytes in each run.

use std::fmt::Write;

/// The terminals' size in all measurements.
pub(crate) const COLUMNS: u16 = 200;
/// The terminals' size in all measurements.
pub(crate) const ROWS: u16 = 50;

/// A block is written again and again; at least so long, in bytes.
const BLOCK_LENGTH: usize = 1 << 20;

const WORDS: [&str; 24] = [
    "the",
    "lane",
    "opens",
    "onto",
    "a",
    "field",
    "where",
    "compiler",
    "warnings",
    "grow",
    "error[E0308]:",
    "src/main.rs",
    "terminal",
    "holds",
    "every",
    "line",
    "of",
    "output",
    "until",
    "somebody",
    "reads",
    "it",
    "or",
    "scrolls",
];

const SPINNER: [char; 6] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴'];

/// A kind of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Workload {
    /// Lines of text, as from a build.
    Plain,
    /// Lines with a few changes of colour each, as from `ls --color` or a compiler.
    Coloured,
    /// Whole screens drawn by cursor addressing, as by an editor or `top`.
    Redraws,
    /// Text that streams in above a box that is redrawn all the time, as by a coding agent.
    Agent,
    /// Text without a single newline.
    OneLine,
}

impl Workload {
    /// Its name on a command line.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Coloured => "coloured",
            Self::Redraws => "redraws",
            Self::Agent => "agent",
            Self::OneLine => "one-line",
        }
    }

    /// Some output that can be repeated.
    pub(super) fn block(self) -> Vec<u8> {
        let mut text = String::with_capacity(BLOCK_LENGTH + (64 << 10));
        let mut chance = Chance(0x1a2e_3a4f_5eed);
        let mut n = 0;
        while text.len() < BLOCK_LENGTH {
            self.add(&mut text, &mut chance, n);
            n += 1;
        }
        if self == Self::Redraws {
            text.push_str("\x1b[0m\x1b[?1049l");
        }
        text.into_bytes()
    }

    /// So many pieces of it: lines, for the kinds that are made of lines.
    pub(super) fn lines(self, n_lines: usize) -> Vec<u8> {
        let mut text = String::new();
        let mut chance = Chance(0x1a2e_3a4f_5eed);
        for n in 0..n_lines {
            self.add(&mut text, &mut chance, n);
        }
        text.into_bytes()
    }

    fn add(self, text: &mut String, chance: &mut Chance, n: usize) {
        match self {
            Self::Plain => {
                add_words(text, chance, 40, 120);
                text.push('\n');
            }
            Self::Coloured => add_coloured_line(text, chance),
            Self::Redraws => add_screen(text, chance, n),
            Self::Agent => add_agent_frame(text, chance, n),
            Self::OneLine => {
                add_words(text, chance, 40, 120);
                text.push(' ');
            }
        }
    }
}

/// A generator of numbers that are always the same (xorshift).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % bound
    }
}

/// Between `least` and `most` cells of words.
fn add_words(text: &mut String, chance: &mut Chance, least: usize, most: usize) {
    let length = least + chance.below(most - least);
    let end = text.len() + length;
    while text.len() < end {
        text.push_str(WORDS[chance.below(WORDS.len())]);
        text.push(' ');
    }
    text.truncate(end);
}

/// As plain lines are long, with four colours.
fn add_coloured_line(text: &mut String, chance: &mut Chance) {
    let (colour, shade) = (31 + chance.below(6), 16 + chance.below(216));
    let _ = write!(text, "\x1b[1;{colour}m");
    add_words(text, chance, 8, 20);
    let _ = write!(text, "\x1b[0m \x1b[38;5;{shade}m");
    add_words(text, chance, 10, 40);
    let (red, green) = (chance.below(256), chance.below(256));
    let _ = write!(text, "\x1b[0m \x1b[38;2;{red};{green};90m");
    add_words(text, chance, 10, 30);
    text.push_str("\x1b[39m ");
    add_words(text, chance, 10, 30);
    text.push_str("\x1b[0m\n");
}

/// A screen with a head, rows of text with a coloured column, and a status line.
fn add_screen(text: &mut String, chance: &mut Chance, n: usize) {
    if n == 0 {
        text.push_str("\x1b[?1049h");
    }
    let _ = write!(text, "\x1b[H\x1b[7m frame {n:>6} \x1b[0m\x1b[K");
    for row in 2..ROWS {
        let colour = 30 + chance.below(8);
        let _ = write!(text, "\x1b[{row};1H\x1b[{colour}m{row:>4}\x1b[0m ");
        add_words(text, chance, 100, 190);
        text.push_str("\x1b[K");
    }
    let _ = write!(text, "\x1b[{ROWS};1H\x1b[44;97m");
    add_words(text, chance, 190, 199);
    text.push_str("\x1b[0m\x1b[K");
}

/// A line or two of text, then the box below it anew: up, erased, drawn, in one synchronized update.
fn add_agent_frame(text: &mut String, chance: &mut Chance, n: usize) {
    const BOX_ROWS: usize = 5;
    const INNER: usize = 96;
    text.push_str("\x1b[?2026h");
    if n > 0 {
        for _ in 0..BOX_ROWS {
            text.push_str("\x1b[2K\x1b[1A");
        }
        text.push_str("\x1b[2K\x1b[G");
    }
    // Most frames only turn the spinner.
    if n.is_multiple_of(3) {
        let _ = write!(text, "\x1b[38;5;{}m●\x1b[39m ", 100 + chance.below(100));
        add_words(text, chance, 60, 150);
        text.push_str("\n  \x1b[2m");
        add_words(text, chance, 20, 100);
        text.push_str("\x1b[22m\n");
    }
    let spinner = SPINNER[n % SPINNER.len()];
    let _ = writeln!(
        text,
        "\x1b[38;2;215;119;87m{spinner} Thinking…\x1b[39m \x1b[2m({n}s · esc to interrupt)\x1b[22m\n"
    );
    let _ = writeln!(text, "\x1b[38;5;244m╭{}╮\x1b[39m", "─".repeat(INNER));
    let _ = write!(text, "\x1b[38;5;244m│\x1b[39m > ");
    let before = text.len();
    add_words(text, chance, 20, INNER - 4);
    let space = " ".repeat(INNER - 3 - (text.len() - before));
    let _ = writeln!(text, "{space}\x1b[38;5;244m│\x1b[39m");
    let _ = writeln!(text, "\x1b[38;5;244m╰{}╯\x1b[39m", "─".repeat(INNER));
    text.push_str("\x1b[?2026l");
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Workload; 5] =
        [Workload::Plain, Workload::Coloured, Workload::Redraws, Workload::Agent, Workload::OneLine];

    #[test]
    fn each_run_writes_the_same_bytes() {
        for workload in ALL {
            let block = workload.block();
            assert_eq!(block, workload.block());
            assert!((BLOCK_LENGTH..BLOCK_LENGTH + (64 << 10)).contains(&block.len()), "{workload:?}");
        }
    }

    #[test]
    fn lines_are_lines_that_fit_the_terminal() {
        for workload in [Workload::Plain, Workload::Coloured] {
            let text = workload.lines(500);
            let lines: Vec<&[u8]> = text.strip_suffix(b"\n").unwrap().split(|byte| *byte == b'\n').collect();
            assert_eq!(lines.len(), 500);
        }
        assert!(!Workload::OneLine.block().contains(&b'\n'));
    }

    #[test]
    fn nothing_asks_the_terminal_before_the_end() {
        for workload in ALL {
            let block = workload.block();
            assert!(!block.windows(4).any(|window| window == super::super::QUESTION));
        }
    }
}
