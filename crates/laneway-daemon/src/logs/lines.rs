//! Bytes as whole lines of text.

use laneway_api::view::OutputStream;

/// The longest line that is told whole, in bytes of its text.
pub(super) const MAX_LINE: usize = 64 << 10;

/// A line without its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// Where it was written.
    pub(crate) stream: OutputStream,
    /// What is no UTF-8 is replaced.
    pub(crate) text: String,
    /// It was longer than this.
    pub(crate) cut: bool,
}

impl Line {
    /// A line of these bytes, cut where it is too long.
    pub(super) fn of(stream: OutputStream, bytes: &[u8], is_cut: bool) -> Self {
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        let mut text = String::from_utf8_lossy(bytes).into_owned();
        let end = text.floor_char_boundary(MAX_LINE);
        let cut = is_cut || end < text.len();
        text.truncate(end);
        Self { stream, text, cut }
    }
}

/// Cuts one stream of a program on pipes into lines.
#[derive(Debug)]
pub(super) struct Cutter {
    stream: OutputStream,
    /// The line that has not ended, as far as it is told.
    line: Vec<u8>,
    /// There was more of it than that.
    is_cut: bool,
    /// The end of what has come.
    at: u64,
    /// Up to its end the next line is not told: its begin was not seen.
    is_lost: bool,
}

impl Cutter {
    /// From this offset on.
    pub(super) fn new(stream: OutputStream, at: u64) -> Self {
        Self { stream, line: Vec::new(), is_cut: false, at, is_lost: false }
    }

    /// Takes what comes at `offset`; answers the lines that have ended in it, and whether something before it is lost.
    pub(super) fn take(&mut self, offset: u64, bytes: &[u8]) -> (Vec<Line>, bool) {
        let n_known = usize::try_from(self.at.saturating_sub(offset)).unwrap_or(usize::MAX).min(bytes.len());
        let is_gap = offset > self.at;
        if is_gap {
            self.line.clear();
            (self.is_cut, self.is_lost) = (false, true);
        }
        self.at = self.at.max(offset + bytes.len() as u64);
        let mut lines = Vec::new();
        for piece in bytes[n_known..].split_inclusive(|byte| *byte == b'\n') {
            let ended = piece.strip_suffix(b"\n");
            self.keep(ended.unwrap_or(piece));
            if ended.is_some() {
                lines.extend(self.end());
            }
        }
        (lines, is_gap)
    }

    /// What is there of a line at the end of all.
    pub(super) fn rest(&mut self) -> Option<Line> {
        if self.line.is_empty() { None } else { self.end() }
    }

    fn keep(&mut self, more: &[u8]) {
        // One more, so that a return at the end of a line that just fits is no cut.
        let room = (MAX_LINE + 1).saturating_sub(self.line.len());
        self.is_cut |= more.len() > room;
        self.line.extend_from_slice(&more[..more.len().min(room)]);
    }

    fn end(&mut self) -> Option<Line> {
        let line = Line::of(self.stream, &self.line, self.is_cut);
        self.line.clear();
        self.is_cut = false;
        (!std::mem::take(&mut self.is_lost)).then_some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lines: Vec<Line>) -> Vec<String> {
        lines.into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn lines_come_whole_however_their_bytes_come() {
        let mut cutter = Cutter::new(OutputStream::Stdout, 5);
        assert_eq!(cutter.take(5, b"on"), (vec![], false));
        let (lines, _) = cutter.take(7, b"e\r\n\ntw\xc3");
        assert_eq!(texts(lines), ["one", ""]);
        assert_eq!(texts(cutter.take(14, b"\xb6\xff\n").0), ["tw\u{f6}\u{fffd}"]);
        // What was seen before comes once.
        assert_eq!(texts(cutter.take(0, b"0123456789abcdefgh\n").0), ["h"]);
        let (lines, is_gap) = cutter.take(100, b"of a lost one\nafter\nrest");
        assert_eq!((texts(lines), is_gap), (vec!["after".to_owned()], true));
        assert_eq!(cutter.rest().unwrap().text, "rest");
        assert_eq!(cutter.rest(), None);
    }

    #[test]
    fn a_long_line_is_cut_between_two_characters_and_says_so() {
        let mut cutter = Cutter::new(OutputStream::Stdout, 0);
        let long = "\u{20ac}".repeat(MAX_LINE);
        let mut at = 0;
        for piece in long.as_bytes().chunks(10_000) {
            assert_eq!(cutter.take(at, piece), (vec![], false));
            at += piece.len() as u64;
        }
        let (lines, _) = cutter.take(at, b"\nnext\n");
        assert!(lines[0].cut && lines[0].text.len() <= MAX_LINE && lines[0].text.len() > MAX_LINE - 4);
        assert!(lines[0].text.chars().all(|character| character == '\u{20ac}'));
        assert_eq!((lines[1].text.as_str(), lines[1].cut), ("next", false));
        let fits = [vec![b'x'; MAX_LINE], b"\r\n".to_vec()].concat();
        let line = Cutter::new(OutputStream::Stderr, 0).take(0, &fits).0.remove(0);
        assert_eq!((line.text.len(), line.cut), (MAX_LINE, false));
    }
}
