//! One client of a terminal: what its holder says, what the client says, and what comes of both. No input or output of
//! its own.

use laneway_api::socket::{TerminalQuery, TerminalWish, TerminalWord, terminal_frame};
use laneway_core::attachment::Role;
use laneway_core::run::Exit;
use laneway_wire::Stream;
use laneway_wire::message::{FromHolder, Incoming, Size, ToHolder};

use crate::engine::exit_of;

/// The size that a client is taken to have that does not say it.
const ANY_SIZE: Size = Size { columns: 80, rows: 24 };

/// One client.
#[derive(Debug)]
pub(super) struct Session {
    role: Role,
    /// The terminal's size, once it is known.
    size: Option<Size>,
    /// The first frame is the picture: what is said before it waits.
    waiting: Option<Vec<TerminalWord>>,
    /// Where the output goes on behind the picture that is coming, and whether its first piece was sent.
    picture: (u64, bool),
}

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(super) enum Deed {
    /// The client is told.
    Say(TerminalWord),
    /// The client is sent bytes.
    Send(Vec<u8>),
    /// The holder is asked.
    Ask(ToHolder),
    /// The program is typed to.
    Type(Vec<u8>),
    /// All is said.
    End,
}

impl Session {
    /// A client, and what its holder is to be asked; `size` is what the terminal has, if it is one.
    pub(super) fn new(query: &TerminalQuery, size: Option<Size>) -> (Self, ToHolder) {
        let own = match (query.columns, query.rows) {
            (Some(columns), Some(rows)) => Some(Size { columns, rows }),
            _ => None,
        };
        let role = query.role.unwrap_or(Role::Observer);
        let size_said = own.or(size).unwrap_or(ANY_SIZE);
        let session = Self { role, size, waiting: None, picture: (0, false) };
        (session, ToHolder::Attach { role: to_holder(role), size: size_said, since: query.since })
    }

    /// Takes what the holder says.
    pub(super) fn heard(&mut self, incoming: Incoming<FromHolder>) -> Vec<Deed> {
        match incoming {
            Incoming::Message { message, .. } => self.heard_message(message),
            Incoming::Data { stream: Stream::Snapshot, bytes, .. } => self.piece_of_picture(&bytes),
            Incoming::Data { stream, offset, bytes } => {
                let kind = match stream {
                    Stream::Pty => terminal_frame::OUTPUT,
                    Stream::Stdout => terminal_frame::STDOUT,
                    Stream::Stderr => terminal_frame::STDERR,
                    _ => return Vec::new(),
                };
                let mut deeds = vec![Deed::Send(frame(kind, offset, &bytes))];
                deeds.extend(self.what_waited());
                deeds
            }
            Incoming::Unknown { .. } => Vec::new(),
        }
    }

    fn heard_message(&mut self, message: FromHolder) -> Vec<Deed> {
        match message {
            FromHolder::Attached { role, resumed, size, .. } => {
                self.role = from_holder(role);
                self.size = size;
                let mut words = vec![TerminalWord::Role { role: self.role }];
                words
                    .extend(size.map(|size| TerminalWord::Resize { columns: size.columns, rows: size.rows }));
                if size.is_some() && !resumed {
                    self.waiting = Some(words);
                    return Vec::new();
                }
                words.into_iter().map(Deed::Say).collect()
            }
            FromHolder::Snapshot { offset, length, size } => {
                self.size = Some(size);
                self.picture = (offset, false);
                if length == 0 { self.piece_of_picture(&[]) } else { Vec::new() }
            }
            FromHolder::DriverLost => {
                self.role = Role::Observer;
                vec![Deed::Say(TerminalWord::Role { role: self.role })]
            }
            FromHolder::Resized { size } => {
                self.size = Some(size);
                vec![Deed::Say(TerminalWord::Resize { columns: size.columns, rows: size.rows })]
            }
            FromHolder::Exited(exited) => {
                let mut deeds = self.what_waited();
                deeds.push(Deed::Say(TerminalWord::Exit { exit: Some(exit_of(&exited).0) }));
                deeds.push(Deed::End);
                deeds
            }
            FromHolder::Refused { message, .. } => vec![Deed::Say(TerminalWord::Error { message })],
            // Answers of no interest here, and what is said to others. After `Resync` comes a picture.
            _ => Vec::new(),
        }
    }

    fn piece_of_picture(&mut self, bytes: &[u8]) -> Vec<Deed> {
        let (offset, has_begun) = self.picture;
        self.picture.1 = true;
        let kind = if has_begun { terminal_frame::MORE_OF_SNAPSHOT } else { terminal_frame::SNAPSHOT };
        let mut deeds = vec![Deed::Send(frame(kind, offset, bytes))];
        deeds.extend(self.what_waited());
        deeds
    }

    fn what_waited(&mut self) -> Vec<Deed> {
        self.waiting.take().into_iter().flatten().map(Deed::Say).collect()
    }

    /// Takes what the client types.
    pub(super) fn typed(&self, bytes: Vec<u8>) -> Deed {
        match self.role {
            Role::Driver => Deed::Type(bytes),
            Role::Observer => {
                let message = "an observer cannot type: say {\"type\":\"role\",\"role\":\"driver\"} first";
                Deed::Say(TerminalWord::Error { message: message.to_owned() })
            }
        }
    }

    /// Takes what the client says.
    pub(super) fn wished(&mut self, text: &str) -> Vec<Deed> {
        let wish = match serde_json::from_str(text) {
            Ok(wish) => wish,
            Err(error) => {
                let message = format!("that is no message: {error}");
                return vec![Deed::Say(TerminalWord::Error { message })];
            }
        };
        match (wish, self.role) {
            (TerminalWish::Ping {}, _) => vec![Deed::Say(TerminalWord::Pong {})],
            (TerminalWish::Resize { columns, rows }, Role::Driver) => {
                vec![Deed::Ask(ToHolder::Resize { size: Size { columns, rows } })]
            }
            (TerminalWish::Resize { .. }, Role::Observer) => {
                let message = "the size is the driver's to give".to_owned();
                vec![Deed::Say(TerminalWord::Error { message })]
            }
            (TerminalWish::Role { role: Role::Driver }, Role::Observer) => {
                self.role = Role::Driver;
                let size = self.size.unwrap_or(ANY_SIZE);
                let role = Deed::Say(TerminalWord::Role { role: Role::Driver });
                vec![Deed::Ask(ToHolder::TakeDriver { size }), role]
            }
            // The holder says what it is then, with a picture.
            (TerminalWish::Role { role: Role::Observer }, Role::Driver) => {
                let size = self.size.unwrap_or(ANY_SIZE);
                let role = to_holder(Role::Observer);
                vec![Deed::Ask(ToHolder::Attach { role, size, since: None })]
            }
            (TerminalWish::Role { role }, _) => vec![Deed::Say(TerminalWord::Role { role })],
        }
    }
}

/// A frame for the client.
pub(super) fn frame(kind: u8, offset: u64, bytes: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(terminal_frame::HEAD + bytes.len());
    frame.push(kind);
    frame.extend_from_slice(&offset.to_be_bytes());
    frame.extend_from_slice(bytes);
    frame
}

/// What is told of a program that had ended before.
pub(super) fn last_words(exit: Option<Exit>) -> TerminalWord {
    TerminalWord::Exit { exit }
}

fn to_holder(role: Role) -> laneway_wire::message::Role {
    match role {
        Role::Driver => laneway_wire::message::Role::Driver,
        Role::Observer => laneway_wire::message::Role::Observer,
    }
}

fn from_holder(role: laneway_wire::message::Role) -> Role {
    match role {
        laneway_wire::message::Role::Driver => Role::Driver,
        laneway_wire::message::Role::Observer => Role::Observer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use laneway_wire::message::Offsets;

    const SIZE: Size = Size { columns: 80, rows: 24 };

    fn said(message: FromHolder) -> Incoming<FromHolder> {
        Incoming::Message { tag: 1, message }
    }

    fn attached(resumed: bool) -> Incoming<FromHolder> {
        let role = laneway_wire::message::Role::Driver;
        said(FromHolder::Attached { role, resumed, offsets: Offsets::default(), size: Some(SIZE) })
    }

    #[test]
    fn the_picture_comes_first_also_in_pieces_and_then_what_the_client_is() {
        let query = TerminalQuery { role: Some(Role::Driver), ..TerminalQuery::default() };
        let (mut session, ask) = Session::new(&query, Some(SIZE));
        let role = laneway_wire::message::Role::Driver;
        assert_eq!(ask, ToHolder::Attach { role, size: SIZE, since: None });
        assert_eq!(session.heard(attached(false)), []);
        assert_eq!(session.heard(said(FromHolder::Snapshot { offset: 7, size: SIZE, length: 4 })), []);
        let piece =
            |bytes: &[u8]| Incoming::Data { stream: Stream::Snapshot, offset: 0, bytes: bytes.to_vec() };
        let words = [
            Deed::Send(b"\x00\0\0\0\0\0\0\0\x07ab".to_vec()),
            Deed::Say(TerminalWord::Role { role: Role::Driver }),
            Deed::Say(TerminalWord::Resize { columns: 80, rows: 24 }),
        ];
        assert_eq!(session.heard(piece(b"ab")), words);
        assert_eq!(session.heard(piece(b"cd")), [Deed::Send(b"\x01\0\0\0\0\0\0\0\x07cd".to_vec())]);
        let output = Incoming::Data { stream: Stream::Pty, offset: 7, bytes: b"x".to_vec() };
        assert_eq!(session.heard(output), [Deed::Send(b"\x02\0\0\0\0\0\0\0\x07x".to_vec())]);
        // Another picture, after it was too slow.
        assert_eq!(session.heard(said(FromHolder::Resync)), []);
        let empty = said(FromHolder::Snapshot { offset: 9, size: SIZE, length: 0 });
        assert_eq!(session.heard(empty), [Deed::Send(b"\x00\0\0\0\0\0\0\0\x09".to_vec())]);
    }

    #[test]
    fn only_a_driver_types_and_gives_the_size() {
        let (mut session, _) = Session::new(&TerminalQuery::default(), Some(SIZE));
        let is_error = |deed: &Deed| matches!(deed, Deed::Say(TerminalWord::Error { .. }));
        assert!(is_error(&session.typed(b"x".to_vec())));
        assert!(is_error(&session.wished(r#"{"type":"resize","columns":9,"rows":9}"#)[0]));
        for odd in ["", "{}", "[]", r#"{"type":"moon"}"#, r#"{"type":"role"}"#, r#"{"type":"ping","x":1}"#] {
            assert!(is_error(&session.wished(odd)[0]), "{odd}");
        }
        let taken = session.wished(r#"{"type":"role","role":"driver"}"#);
        assert_eq!(taken[0], Deed::Ask(ToHolder::TakeDriver { size: SIZE }));
        assert_eq!(session.typed(b"x".to_vec()), Deed::Type(b"x".to_vec()));
        let size = Size { columns: 9, rows: 9 };
        let resized = session.wished(r#"{"type":"resize","columns":9,"rows":9}"#);
        assert_eq!(resized, [Deed::Ask(ToHolder::Resize { size })]);
        let lost = session.heard(said(FromHolder::DriverLost));
        assert_eq!(lost, [Deed::Say(TerminalWord::Role { role: Role::Observer })]);
        assert!(is_error(&session.typed(b"x".to_vec())));
    }
}
