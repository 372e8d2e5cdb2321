//! What tmux says in control mode: replies between `%begin` and `%end` or `%error`, and notifications beside them.
//!
//! Pure: bytes in, however they are cut; items out. A line or a reply that is longer than any can be meant to be is
//! an error, after which nothing more is understood.

/// The longest line that is read, in bytes: a wrapped line of a large history, joined, with its colours.
pub const LONGEST_LINE: usize = 4 << 20;
/// The longest reply that is read, in bytes: 50 000 lines of history with colours have some 10 MiB.
pub const LONGEST_REPLY: usize = 64 << 20;

/// Something that tmux said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// The answer to one command.
    Reply(Reply),
    /// Something happened.
    Notification(Notification),
}

/// The answer to one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// It is to a command of this connection, not of a hook or of the command line.
    pub is_ours: bool,
    /// It was carried out; if not, the body says why not.
    pub is_ok: bool,
    /// Its lines, each with a line feed.
    pub body: Vec<u8>,
}

/// What tmux tells by itself, as far as it is of use here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notification {
    /// A window is gone (`%window-close`, `%unlinked-window-close`).
    WindowClosed(u32),
    /// A window has another name.
    WindowRenamed(u32, Vec<u8>),
    /// There is another window.
    WindowAdded(u32),
    /// A session was made, closed or renamed.
    SessionsChanged,
    /// The connection ends.
    Exit,
    /// Anything else.
    Other,
}

/// tmux said what cannot be its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTheProtocol {
    /// A line without end.
    #[error("a line of more than {LONGEST_LINE} bytes")]
    LongLine,
    /// A reply without end.
    #[error("a reply of more than {LONGEST_REPLY} bytes")]
    LongReply,
    /// The end of a reply that had not begun: a program's text was taken for the end before.
    #[error("the end of a reply that had not begun")]
    StrayEnd,
}

/// What has been said so far and is not complete.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    reply: Option<Begun>,
    /// Nothing more is understood.
    broken: Option<NotTheProtocol>,
}

/// A reply that has begun.
#[derive(Debug)]
struct Begun {
    /// What stands behind `%begin`, and again behind `%end`: time, number, flags.
    mark: Vec<u8>,
    body: Vec<u8>,
}

impl Parser {
    /// Takes what tmux said next, and hands over what is complete.
    pub fn push(&mut self, mut bytes: &[u8], take: &mut dyn FnMut(Item)) -> Result<(), NotTheProtocol> {
        if let Some(broken) = self.broken {
            return Err(broken);
        }
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.lengthen(&bytes[..end])?;
            bytes = &bytes[end + 1..];
            let line = std::mem::take(&mut self.line);
            if let Some(item) = self.line(&line).inspect_err(|error| self.broken = Some(*error))? {
                take(item);
            }
            self.line = line;
            self.line.clear();
        }
        self.lengthen(bytes)
    }

    fn lengthen(&mut self, bytes: &[u8]) -> Result<(), NotTheProtocol> {
        if self.line.len() + bytes.len() > LONGEST_LINE {
            self.broken = Some(NotTheProtocol::LongLine);
            return Err(NotTheProtocol::LongLine);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn line(&mut self, line: &[u8]) -> Result<Option<Item>, NotTheProtocol> {
        let Some(begun) = &mut self.reply else {
            return self.line_between_replies(line);
        };
        let is_ok = line.strip_prefix(b"%end ").map(|mark| (mark, true));
        if let Some((mark, is_ok)) = is_ok.or(line.strip_prefix(b"%error ").map(|mark| (mark, false)))
            && mark == begun.mark
        {
            let is_ours = mark.rsplit(|byte| *byte == b' ').next() == Some(b"1");
            let body = std::mem::take(&mut begun.body);
            self.reply = None;
            return Ok(Some(Item::Reply(Reply { is_ours, is_ok, body })));
        }
        if begun.body.len() + line.len() > LONGEST_REPLY {
            return Err(NotTheProtocol::LongReply);
        }
        begun.body.extend_from_slice(line);
        begun.body.push(b'\n');
        Ok(None)
    }

    fn line_between_replies(&mut self, line: &[u8]) -> Result<Option<Item>, NotTheProtocol> {
        if let Some(mark) = line.strip_prefix(b"%begin ") {
            self.reply = Some(Begun { mark: mark.to_owned(), body: Vec::new() });
            return Ok(None);
        }
        if line.starts_with(b"%end ") || line.starts_with(b"%error ") {
            return Err(NotTheProtocol::StrayEnd);
        }
        // Text that belongs to nothing is what tmux says of a command when that is over already: of a file, say.
        Ok(Some(Item::Notification(Notification::read(line))))
    }
}

impl Notification {
    /// Reads one line.
    pub(crate) fn read(line: &[u8]) -> Self {
        let (name, rest) = split_at_space(line);
        let (id, behind) = split_at_space(rest);
        let window = || str::from_utf8(id.strip_prefix(b"@")?).ok()?.parse().ok();
        match name {
            b"%window-close" | b"%unlinked-window-close" => window().map(Self::WindowClosed),
            b"%window-renamed" | b"%unlinked-window-renamed" => {
                window().map(|window| Self::WindowRenamed(window, behind.to_owned()))
            }
            b"%window-add" | b"%unlinked-window-add" => window().map(Self::WindowAdded),
            b"%sessions-changed" | b"%session-renamed" => Some(Self::SessionsChanged),
            b"%exit" => Some(Self::Exit),
            _ => None,
        }
        .unwrap_or(Self::Other)
    }
}

fn split_at_space(text: &[u8]) -> (&[u8], &[u8]) {
    match text.iter().position(|byte| *byte == b' ') {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, b""),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_all(pieces: &[&[u8]]) -> (Vec<Item>, Result<(), NotTheProtocol>) {
        let mut parser = Parser::default();
        let mut items = Vec::new();
        let result = pieces.iter().try_for_each(|piece| parser.push(piece, &mut |item| items.push(item)));
        (items, result)
    }

    fn reply(is_ok: bool, body: &str) -> Item {
        Item::Reply(Reply { is_ours: true, is_ok, body: body.into() })
    }

    #[test]
    fn replies_are_told_from_notifications() {
        let said = b"%begin 17 260 0\n%end 17 260 0\n%unlinked-window-renamed @2 a b\n%sessions-changed\n\
            %begin 17 261 1\n%end 17 260 1\n%window-close @1\n%end 17 261 1\n%begin 17 262 1\nno such\n\
            %error 17 262 1\n%unlinked-window-close @7\n%window-close @x\n%output %1 abc\n%exit\n";
        let (items, result) = read_all(&[said]);
        assert_eq!(result, Ok(()));
        let expected = [
            Item::Reply(Reply { is_ours: false, is_ok: true, body: Vec::new() }),
            Item::Notification(Notification::WindowRenamed(2, b"a b".to_vec())),
            Item::Notification(Notification::SessionsChanged),
            reply(true, "%end 17 260 1\n%window-close @1\n"),
            reply(false, "no such\n"),
            Item::Notification(Notification::WindowClosed(7)),
            Item::Notification(Notification::Other),
            Item::Notification(Notification::Other),
            Item::Notification(Notification::Exit),
        ];
        assert_eq!(items, expected);
    }

    #[test]
    fn what_never_ends_is_refused() {
        let long = vec![b'x'; LONGEST_LINE];
        let (items, result) = read_all(&[b"%begin 1 1 1\n", &long, b"x", b"\n%end 1 1 1\n"]);
        assert_eq!((items, result), (vec![], Err(NotTheProtocol::LongLine)));
        let mut line = long;
        line[LONGEST_LINE - 1] = b'\n';
        let mut pieces: Vec<&[u8]> = vec![b"%begin 1 1 1\n"];
        pieces.extend(std::iter::repeat_n(&line[..], LONGEST_REPLY / LONGEST_LINE + 1));
        assert_eq!(read_all(&pieces).1, Err(NotTheProtocol::LongReply));
    }

    #[test]
    fn an_end_that_was_forged_is_noticed_at_the_true_one() {
        let forged = b"%begin 1 1 1\n%end 1 1 1\nrest of a screen\n%end 1 1 1\n";
        assert_eq!(
            read_all(&[forged]),
            (vec![reply(true, ""), Item::Notification(Notification::Other)], Err(NotTheProtocol::StrayEnd))
        );
    }

    proptest! {
        #[test]
        fn anything_cut_anywhere_is_read_the_same(
            said in prop::collection::vec(prop_oneof![
                Just(b"%begin 1 2 1\n".to_vec()), Just(b"%end 1 2 1\n".to_vec()),
                Just(b"%error 1 2 1\n".to_vec()), Just(b"%window-close @3\n".to_vec()),
                Just(b"%window-renamed @4 n\n".to_vec()), Just(b"%".to_vec()), Just(b"\n".to_vec()),
                prop::collection::vec(any::<u8>(), 0..12),
            ], 0..24),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let said = said.concat();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(said.len() + 1)).collect();
            at.extend([0, said.len()]);
            at.sort_unstable();
            let pieces: Vec<&[u8]> = at.windows(2).map(|pair| &said[pair[0]..pair[1]]).collect();
            prop_assert_eq!(read_all(&pieces), read_all(&[&said]));
        }
    }
}
