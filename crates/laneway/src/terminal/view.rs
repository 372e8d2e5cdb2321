//! An attachment, as a machine without terminal, socket or clock of its own: what comes from the keyboard, the
//! holder and the window goes in; what is drawn and said comes out.
//!
//! ```text
//!             ┌── output resumes only with a picture ──┐
//!  Awaited ──Snapshot──► Arriving ──all of it──► Live ─┘ Resync, or back from the alternate screen
//!     any ── detach key, exit, holder gone, terminal gone, signal ──► Leave
//! ```

use std::time::{Duration, Instant};

use laneway_daemon::config::DetachKey;
use laneway_wire::message::{Exited, Incoming, Role, Size};
use laneway_wire::{FromHolder, Stream, ToHolder};
use rustix::process::Signal;

use super::detach::{Recogniser, Typed};
use super::modes::{self, Changes};
use super::output_filter::{OutputFilter, Passed};

/// Sizes that a holder gives to a terminal: it brings others to the nearest of these.
const SIZES: std::ops::RangeInclusive<u16> = 2..=1_000;

/// Shows a whole picture at once, on terminals that know how to.
const BEGIN_UPDATE: &[u8] = b"\x1b[?2026h";
const END_UPDATE: &[u8] = b"\x1b[?2026l";

/// How long a line of ours stands over the last row: time enough to read it. Output is not drawn meanwhile, and a
/// picture makes good for it.
const NOTICE_TIME: Duration = Duration::from_millis(1_500);

/// What happens to an attachment.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    /// Bytes from the keyboard.
    Typed(&'a [u8]),
    /// The moment that [`View::deadline`] said has come.
    TimePassed,
    /// Something from the holder.
    Holder(Incoming<FromHolder>),
    /// The holder has closed the connection.
    HolderGone,
    /// The user's terminal has this size now.
    Resized(Size),
    /// The user's terminal is gone.
    TerminalGone,
    /// Somebody wants this process to end.
    Signalled(Signal),
}

/// What is to be said to the holder.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Said {
    /// A request.
    Request(ToHolder),
    /// Bytes for the program.
    Input(Vec<u8>),
}

/// How it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Response {
    /// It does.
    Stay,
    /// The attachment is over.
    Leave(Leaving),
}

/// Why an attachment is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// The user has left; the program goes on.
    Detached,
    /// The program has ended.
    Exited(Exited),
    /// The holder went away without a word about the program.
    Lost,
    /// There is no terminal any more.
    TerminalGone,
    /// This process was asked to end.
    Signalled(Signal),
    /// The holder did not let us in: why.
    Refused(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Picture {
    /// Output is thrown away until a snapshot comes.
    Awaited,
    /// So many bytes of a snapshot are still to come.
    Arriving(u64),
    /// Output is drawn.
    Live,
}

/// An attachment.
#[derive(Debug)]
pub(crate) struct View {
    name: String,
    key: DetachKey,
    recogniser: Recogniser,
    filter: OutputFilter,
    role: Role,
    size: Size,
    picture: Picture,
    /// The holder has let us in.
    is_attached: bool,
    /// When the keyboard was heard last.
    typed_at: Instant,
    /// A line of ours over the last row, and until when.
    notice: Option<(String, Instant)>,
    said: Vec<Said>,
}

impl View {
    /// An attachment to the program called `name`, from a terminal of `size`.
    pub(crate) fn new(name: &str, role: Role, size: Size, key: DetachKey, now: Instant) -> Self {
        let mut view = Self {
            name: name.to_owned(),
            key,
            recogniser: Recogniser::new(key),
            filter: OutputFilter::new(),
            role,
            size,
            picture: Picture::Awaited,
            is_attached: false,
            typed_at: now,
            notice: None,
            said: Vec::new(),
        };
        view.ask_for_picture();
        view
    }

    /// When [`Event::TimePassed`] is to come, if nothing else does before.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let keyboard = self.recogniser.patience().map(|patience| self.typed_at + patience);
        let notice = self.notice.as_ref().map(|(_, until)| *until);
        keyboard.into_iter().chain(notice).min()
    }

    /// What has become of the user's terminal beyond its modes.
    pub(crate) fn changes(&self) -> Changes {
        self.filter.changes()
    }

    /// What is to be said to the holder since the last call.
    pub(crate) fn take_said(&mut self) -> Vec<Said> {
        std::mem::take(&mut self.said)
    }

    /// Takes an event; appends what is to be drawn to `screen`.
    pub(crate) fn handle(&mut self, event: Event<'_>, now: Instant, screen: &mut Vec<u8>) -> Response {
        match event {
            Event::Typed(bytes) => {
                self.typed_at = now;
                let typed = self.recogniser.feed(bytes);
                self.take_typed(typed, now, screen)
            }
            Event::TimePassed => self.take_time(now, screen),
            Event::Holder(Incoming::Data { stream, bytes, .. }) => {
                self.take_data(stream, &bytes, screen);
                Response::Stay
            }
            Event::Holder(Incoming::Message { message, .. }) => self.take_message(message, now, screen),
            Event::Holder(Incoming::Unknown { .. }) => Response::Stay,
            Event::HolderGone => Response::Leave(Leaving::Lost),
            Event::Resized(size) => {
                self.take_size(size);
                Response::Stay
            }
            Event::TerminalGone => Response::Leave(Leaving::TerminalGone),
            Event::Signalled(signal) => Response::Leave(Leaving::Signalled(signal)),
        }
    }

    fn take_time(&mut self, now: Instant, screen: &mut Vec<u8>) -> Response {
        if self.notice.as_ref().is_some_and(|(_, until)| *until <= now) {
            self.notice = None;
            self.ask_for_picture();
        }
        match self.recogniser.patience() {
            Some(patience) if self.typed_at + patience <= now => {
                let typed = self.recogniser.time_passed();
                self.take_typed(typed, now, screen)
            }
            Some(_) | None => Response::Stay,
        }
    }

    fn take_typed(&mut self, typed: Typed, now: Instant, screen: &mut Vec<u8>) -> Response {
        let (bytes, response) = match typed {
            Typed::Bytes(bytes) => (bytes, Response::Stay),
            Typed::Detach(bytes) => (bytes, Response::Leave(Leaving::Detached)),
        };
        match self.role {
            Role::Driver if !bytes.is_empty() => self.said.push(Said::Input(bytes)),
            // Sequences are also what the mouse, the window's focus and a paste send by themselves.
            Role::Observer if bytes.first().is_some_and(|byte| *byte != 0x1b) => {
                let line = format!(" you observe {}: {} leaves ", self.name, self.key);
                self.notify(line, now, screen);
            }
            Role::Driver | Role::Observer => {}
        }
        response
    }

    fn take_size(&mut self, size: Size) {
        let is_new_to_holder = held(size) != held(self.size);
        self.size = size;
        if self.role == Role::Driver && is_new_to_holder {
            // A new size brings a picture with it.
            self.said.push(Said::Request(ToHolder::Resize { size }));
        } else {
            // The terminal may have cut or moved what it shows.
            self.ask_for_picture();
        }
    }

    fn take_data(&mut self, stream: Stream, bytes: &[u8], screen: &mut Vec<u8>) {
        match (stream, self.picture) {
            (Stream::Pty, Picture::Live) if self.notice.is_none() => match self.filter.pass(bytes, screen) {
                Passed::All => {}
                Passed::NeedsPicture => self.ask_for_picture(),
            },
            (Stream::Snapshot, Picture::Arriving(n_left)) => {
                // A snapshot shows one screen, whatever it says of the other.
                let _ = self.filter.pass(bytes, screen);
                self.expect_of_picture(n_left.saturating_sub(bytes.len() as u64), screen);
            }
            _ => {}
        }
    }

    fn take_message(&mut self, message: FromHolder, now: Instant, screen: &mut Vec<u8>) -> Response {
        match message {
            FromHolder::Attached { role, .. } => {
                self.is_attached = true;
                self.role = role;
            }
            FromHolder::Snapshot { length, .. } => {
                screen.extend(modes::plain(self.filter.changes()));
                screen.extend_from_slice(BEGIN_UPDATE);
                screen.extend_from_slice(modes::CLEAR);
                self.filter.begin_picture();
                self.expect_of_picture(length, screen);
            }
            FromHolder::Resync => self.picture = Picture::Awaited,
            FromHolder::DriverLost => {
                self.role = Role::Observer;
                screen.extend(modes::title(&format!("{} (observing)", self.name)));
                let line = format!(" {} is used from elsewhere now; {} leaves ", self.name, self.key);
                self.notify(line, now, screen);
            }
            FromHolder::Exited(exited) => return Response::Leave(Leaving::Exited(exited)),
            FromHolder::Refused { message, .. } if !self.is_attached => {
                return Response::Leave(Leaving::Refused(message));
            }
            // Answers of no interest here, and what is said to others.
            _ => {}
        }
        Response::Stay
    }

    fn expect_of_picture(&mut self, n_left: u64, screen: &mut Vec<u8>) {
        self.picture = if n_left > 0 { Picture::Arriving(n_left) } else { Picture::Live };
        if n_left == 0 {
            screen.extend_from_slice(END_UPDATE);
            self.draw_notice(screen);
        }
    }

    fn ask_for_picture(&mut self) {
        self.picture = Picture::Awaited;
        let attach = ToHolder::Attach { role: self.role, size: self.size, since: None };
        self.said.push(Said::Request(attach));
    }

    fn notify(&mut self, line: String, now: Instant, screen: &mut Vec<u8>) {
        self.notice = Some((line, now + NOTICE_TIME));
        if self.picture == Picture::Live {
            self.draw_notice(screen);
        }
    }

    fn draw_notice(&self, screen: &mut Vec<u8>) {
        if let Some((line, _)) = &self.notice {
            screen.extend(modes::line_over_the_last_row(line, self.size.columns, self.size.rows));
        }
    }
}

fn held(size: Size) -> Size {
    let near = |n: u16| n.clamp(*SIZES.start(), *SIZES.end());
    Size { columns: near(size.columns), rows: near(size.rows) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use laneway_wire::message::Offsets;

    const SIZE: Size = Size { columns: 80, rows: 24 };

    struct Attached {
        view: View,
        screen: Vec<u8>,
        now: Instant,
    }

    impl Attached {
        /// Let in with `role`, and nothing drawn yet.
        fn new(role: Role) -> Self {
            let now = Instant::now();
            let view = View::new("w", role, SIZE, DetachKey::default(), now);
            let mut attached = Self { view, screen: Vec::new(), now };
            let attach = ToHolder::Attach { role, size: SIZE, since: None };
            assert_eq!(attached.view.take_said(), [Said::Request(attach)]);
            attached.say(FromHolder::Attached {
                role,
                resumed: false,
                offsets: Offsets::default(),
                size: Some(SIZE),
            });
            attached
        }

        /// With a picture of `bytes` drawn, and the screen's buffer empty again.
        fn live(role: Role, bytes: &[u8]) -> Self {
            let mut attached = Self::new(role);
            attached.picture(bytes);
            attached.screen.clear();
            attached
        }

        fn event(&mut self, event: Event<'_>) -> Response {
            self.view.handle(event, self.now, &mut self.screen)
        }

        /// The next deadline comes.
        fn let_time_pass(&mut self) -> Response {
            self.now = self.view.deadline().expect("something is waited for");
            self.event(Event::TimePassed)
        }

        fn say(&mut self, message: FromHolder) -> Response {
            self.event(Event::Holder(Incoming::Message { tag: 0, message }))
        }

        fn data(&mut self, stream: Stream, bytes: &[u8]) {
            let data = Incoming::Data { stream, offset: 0, bytes: bytes.to_vec() };
            assert_eq!(self.event(Event::Holder(data)), Response::Stay);
        }

        fn picture(&mut self, bytes: &[u8]) {
            self.say(FromHolder::Snapshot { offset: 0, size: SIZE, length: bytes.len() as u64 });
            for piece in bytes.chunks(3) {
                self.data(Stream::Snapshot, piece);
            }
        }

        /// What was drawn since the last call.
        fn drawn(&mut self) -> String {
            String::from_utf8(std::mem::take(&mut self.screen)).unwrap()
        }

        fn asked_for_picture(&mut self) -> bool {
            matches!(self.view.take_said().as_slice(), [Said::Request(ToHolder::Attach { .. })])
        }
    }

    #[test]
    fn nothing_is_drawn_before_the_picture_and_all_after_it() {
        let mut attached = Attached::new(Role::Driver);
        attached.data(Stream::Pty, b"too early");
        assert_eq!(attached.drawn(), "");
        attached.picture(b"the screen");
        attached.data(Stream::Pty, b"and on");
        let drawn = attached.drawn();
        let whole = format!("the screen{}and on", std::str::from_utf8(END_UPDATE).unwrap());
        assert!(drawn.ends_with(&whole), "{drawn:?}");
        assert!(drawn.contains("\x1b[H\x1b[2J"), "it is drawn on a blank screen");
    }

    #[test]
    fn a_driver_types_and_an_observer_is_told_how_to_leave() {
        let mut attached = Attached::live(Role::Driver, b"x");
        attached.event(Event::Typed(b"ls\r"));
        assert_eq!(attached.view.take_said(), [Said::Input(b"ls\r".to_vec())]);
        assert_eq!(attached.drawn(), "");

        let mut attached = Attached::live(Role::Observer, b"x");
        attached.event(Event::Typed(b"\x1b[<0;1;1M"));
        assert_eq!(attached.drawn(), "", "the mouse is no key");
        attached.event(Event::Typed(b"l"));
        assert!(attached.drawn().contains("ctrl-\\ leaves"));
        assert_eq!(attached.view.take_said(), []);
        attached.data(Stream::Pty, b"output");
        assert_eq!(attached.drawn(), "", "it stands for a while");
        assert_eq!(attached.let_time_pass(), Response::Stay);
        assert!(attached.asked_for_picture(), "and what it covered comes back");
        assert_eq!(attached.view.deadline(), None);
    }

    #[test]
    fn who_loses_the_terminal_is_told_and_types_no_more() {
        let mut attached = Attached::live(Role::Driver, b"x");
        attached.say(FromHolder::DriverLost);
        assert!(attached.drawn().contains("is used from elsewhere"));
        attached.picture(b"in another size");
        assert!(
            attached.drawn().contains("is used from elsewhere"),
            "the new driver's size does not hide it"
        );
        attached.event(Event::Typed(b"rm"));
        attached.event(Event::Resized(Size { columns: 10, rows: 10 }));
        let said = attached.view.take_said();
        let size = Size { columns: 10, rows: 10 };
        let observe = ToHolder::Attach { role: Role::Observer, size, since: None };
        assert_eq!(said, [Said::Request(observe)], "no input, and no size of its own");
    }

    #[test]
    fn a_new_size_goes_to_the_holder_and_the_same_one_asks_for_a_picture() {
        let mut attached = Attached::live(Role::Driver, b"x");
        let size = Size { columns: 100, rows: 30 };
        attached.event(Event::Resized(size));
        assert_eq!(attached.view.take_said(), [Said::Request(ToHolder::Resize { size })]);
        attached.event(Event::Resized(size));
        assert!(attached.asked_for_picture());
        attached.event(Event::Resized(Size { columns: 1, rows: 0 }));
        attached.view.take_said();
        attached.event(Event::Resized(Size { columns: 2, rows: 1 }));
        assert!(attached.asked_for_picture(), "the same to a holder, which sends none by itself");
    }

    #[test]
    fn coming_back_from_the_alternate_screen_needs_a_picture() {
        let mut attached = Attached::live(Role::Driver, b"shell\x1b[?1049hvim");
        attached.data(Stream::Pty, b"\x1b[?1049lprompt");
        assert!(attached.asked_for_picture());
        attached.data(Stream::Pty, b"more");
        assert_eq!(attached.drawn(), "");
        attached.picture(b"shell");
        attached.data(Stream::Pty, b"live");
        assert!(attached.drawn().ends_with("live"));
    }

    #[test]
    fn lost_output_is_made_good_by_a_picture() {
        let mut attached = Attached::live(Role::Driver, b"x");
        attached.say(FromHolder::Resync);
        attached.data(Stream::Pty, b"between");
        assert_eq!(attached.drawn(), "");
        attached.picture(b"");
        attached.data(Stream::Pty, b"after");
        assert!(attached.drawn().ends_with("after"));
        assert_eq!(attached.view.take_said(), [], "it comes unasked");
    }

    #[test]
    fn every_end_is_told_apart() {
        let exited = Exited {
            code: Some(3),
            signal: None,
            core_dumped: false,
            at_micros: 1,
            offsets: Offsets::default(),
            hung_up: false,
            limit: None,
        };
        let refused = || FromHolder::Refused { code: "x".into(), message: "no".into() };
        let mut attached = Attached::live(Role::Driver, b"x");
        assert_eq!(attached.say(refused()), Response::Stay, "a late refusal is no end");
        assert_eq!(attached.say(FromHolder::Exited(exited)), Response::Leave(Leaving::Exited(exited)));
        assert_eq!(attached.event(Event::HolderGone), Response::Leave(Leaving::Lost));
        assert_eq!(attached.event(Event::TerminalGone), Response::Leave(Leaving::TerminalGone));
        let signalled = Response::Leave(Leaving::Signalled(Signal::TERM));
        assert_eq!(attached.event(Event::Signalled(Signal::TERM)), signalled);
        assert_eq!(attached.event(Event::Typed(b"a\x1c")), Response::Stay);
        assert_eq!(attached.event(Event::TimePassed), Response::Stay, "a second press may come");
        assert_eq!(attached.let_time_pass(), Response::Leave(Leaving::Detached));
        assert_eq!(attached.view.take_said(), [Said::Input(b"a".to_vec())]);

        let now = Instant::now();
        let mut outside = View::new("w", Role::Driver, SIZE, DetachKey::default(), now);
        let message = Incoming::Message { tag: 2, message: refused() };
        let response = outside.handle(Event::Holder(message), now, &mut Vec::new());
        assert_eq!(response, Response::Leave(Leaving::Refused("no".into())));
    }
}
