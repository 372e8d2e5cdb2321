//! Frames: how bytes are cut on a holder's socket, and the decoder that takes them apart again.
//!
//! A frame is a header of 16 bytes and a body:
//!
//! | bytes | meaning |
//! |---|---|
//! | 0 | version of the frame layout, [`FRAME_VERSION`] |
//! | 1 | stream |
//! | 2–3 | zero |
//! | 4–7 | length of the body, little endian |
//! | 8–15 | offset of the body's first byte in its stream, little endian; zero in control frames |
//!
//! The decoder is fed slices as they come and holds at most one unfinished frame. It grows with what has
//! arrived, never by what a header claims.

/// The version of the frame layout.
pub const FRAME_VERSION: u8 = 1;

/// The length of a frame's header in bytes.
pub const HEADER_LENGTH: usize = 16;

/// The most bytes of body in a data frame: 1 MiB.
pub const MAX_DATA: usize = 1 << 20;

/// The most bytes of body in a control frame: 17 MiB. `Send` takes up to 16 MiB of text and is the largest
/// message; `Launch` carries an environment of up to 4 MiB.
pub const MAX_CONTROL: usize = 17 << 20;

/// What a frame's body belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// A message, see [`crate::message`].
    Control,
    /// Output of the program's terminal, with what the holder answered taken out.
    Pty,
    /// Standard output of a program on pipes.
    Stdout,
    /// Standard error of a program on pipes.
    Stderr,
    /// Bytes for the program: typed at its terminal, or its standard input on pipes.
    Input,
    /// Kept for the agents' channel.
    Channel,
    /// The bytes that draw a terminal as it is; their length was given by the `Snapshot` message before them,
    /// and their offset counts from the snapshot's own start.
    Snapshot,
    /// A stream this build does not know; its frames are to be passed over.
    Unknown(u8),
}

impl Stream {
    const fn number(self) -> u8 {
        match self {
            Self::Control => 0,
            Self::Pty => 1,
            Self::Stdout => 2,
            Self::Stderr => 3,
            Self::Input => 4,
            Self::Channel => 5,
            Self::Snapshot => 6,
            Self::Unknown(number) => number,
        }
    }

    const fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Control,
            1 => Self::Pty,
            2 => Self::Stdout,
            3 => Self::Stderr,
            4 => Self::Input,
            5 => Self::Channel,
            6 => Self::Snapshot,
            other => Self::Unknown(other),
        }
    }

    const fn bound(self) -> usize {
        match self {
            Self::Control => MAX_CONTROL,
            _ => MAX_DATA,
        }
    }
}

/// One whole frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What the body belongs to.
    pub stream: Stream,
    /// Where the body's first byte stands in its stream, in bytes from the stream's start.
    pub offset: u64,
    /// The body.
    pub body: Vec<u8>,
}

/// Why bytes are not frames. The connection is of no more use after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The peer cuts frames in a way this build does not know, or does not speak this protocol at all.
    #[error("frame layout {0} is not known here (this is {FRAME_VERSION})")]
    Version(u8),
    /// The reserved bytes are not zero.
    #[error("a frame's reserved bytes are set")]
    Reserved,
    /// The body would be longer than its stream allows.
    #[error("a frame of {length} bytes is over the limit of {bound}")]
    TooLong {
        /// What the header claims, in bytes.
        length: u64,
        /// What is allowed on that stream, in bytes.
        bound: usize,
    },
}

/// Takes frames out of a stream of bytes that comes in pieces of any size.
#[derive(Debug, Default)]
pub struct Decoder {
    header: [u8; HEADER_LENGTH],
    n_header: usize,
    /// The frame whose header is complete, and how many bytes of body it still lacks.
    open: Option<(Frame, usize)>,
    broken: Option<FrameError>,
}

impl Decoder {
    /// A decoder at the start of a connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes from the front of `input` until a frame is whole or `input` is empty. To be called until
    /// it answers `None`; then `input` is empty. After an error every further call gives the same error.
    pub fn feed(&mut self, input: &mut &[u8]) -> Result<Option<Frame>, FrameError> {
        if let Some(error) = self.broken {
            return Err(error);
        }
        if self.open.is_none() {
            let n_taken = input.len().min(HEADER_LENGTH - self.n_header);
            let (head, rest) = input.split_at(n_taken);
            self.header[self.n_header..self.n_header + n_taken].copy_from_slice(head);
            self.n_header += n_taken;
            *input = rest;
            if self.n_header < HEADER_LENGTH {
                return Ok(None);
            }
            self.n_header = 0;
            match parse_header(&self.header) {
                Ok((frame, length)) => self.open = Some((frame, length)),
                Err(error) => {
                    self.broken = Some(error);
                    return Err(error);
                }
            }
        }
        let Some((frame, n_missing)) = &mut self.open else {
            return Ok(None);
        };
        let n_taken = input.len().min(*n_missing);
        let (head, rest) = input.split_at(n_taken);
        frame.body.extend_from_slice(head);
        *n_missing -= n_taken;
        *input = rest;
        if *n_missing > 0 {
            return Ok(None);
        }
        Ok(self.open.take().map(|(frame, _)| frame))
    }

    /// Whether a frame has begun and is not whole: the peer was cut off in the middle of it.
    pub fn is_inside_frame(&self) -> bool {
        self.n_header > 0 || self.open.is_some()
    }
}

fn parse_header(header: &[u8; HEADER_LENGTH]) -> Result<(Frame, usize), FrameError> {
    let [version, stream, reserved_low, reserved_high, l0, l1, l2, l3, offset @ ..] = *header;
    if version != FRAME_VERSION {
        return Err(FrameError::Version(version));
    }
    if reserved_low != 0 || reserved_high != 0 {
        return Err(FrameError::Reserved);
    }
    let stream = Stream::from_number(stream);
    let length = u32::from_le_bytes([l0, l1, l2, l3]);
    let bound = stream.bound();
    match usize::try_from(length) {
        Ok(length) if length <= bound => {
            Ok((Frame { stream, offset: u64::from_le_bytes(offset), body: Vec::new() }, length))
        }
        _ => Err(FrameError::TooLong { length: u64::from(length), bound }),
    }
}

/// Appends `bytes` as data frames of `stream`, cut at [`MAX_DATA`]; `offset` is that of the first byte.
pub fn encode_data(stream: Stream, offset: u64, bytes: &[u8], into: &mut Vec<u8>) {
    let mut offset = offset;
    for piece in bytes.chunks(MAX_DATA) {
        encode_header(stream, offset, piece.len(), into);
        into.extend_from_slice(piece);
        offset += piece.len() as u64;
    }
}

/// Appends the header of a frame with a body of `length` bytes, which the caller appends after it. The length
/// is to be within the stream's bound.
pub(crate) fn encode_header(stream: Stream, offset: u64, length: usize, into: &mut Vec<u8>) {
    into.extend_from_slice(&[FRAME_VERSION, stream.number(), 0, 0]);
    into.extend_from_slice(&(length as u32).to_le_bytes());
    into.extend_from_slice(&offset.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn feed_in_pieces(bytes: &[u8], cuts: &[usize]) -> (Vec<Frame>, Option<FrameError>) {
        let mut decoder = Decoder::new();
        let mut frames = Vec::new();
        let mut rest = bytes;
        let mut cuts = cuts.iter().copied().chain(std::iter::repeat(usize::MAX));
        while !rest.is_empty() {
            let n = cuts.next().expect("it repeats without end").clamp(1, rest.len());
            let (mut piece, after) = rest.split_at(n);
            rest = after;
            loop {
                match decoder.feed(&mut piece) {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(error) => return (frames, Some(error)),
                }
            }
            assert!(piece.is_empty());
        }
        (frames, None)
    }

    fn any_frame() -> impl Strategy<Value = (Stream, u64, Vec<u8>)> {
        (0u8..9, any::<u32>(), prop::collection::vec(any::<u8>(), 1..600))
            .prop_map(|(stream, offset, body)| (Stream::from_number(stream), u64::from(offset), body))
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_they_are_cut(
            frames in prop::collection::vec(any_frame(), 0..8),
            cuts in prop::collection::vec(1usize..64, 0..200),
        ) {
            let mut bytes = Vec::new();
            for (stream, offset, body) in &frames {
                encode_data(*stream, *offset, body, &mut bytes);
            }
            let (seen, error) = feed_in_pieces(&bytes, &cuts);
            prop_assert_eq!(error, None);
            let seen: Vec<_> = seen.into_iter().map(|frame| (frame.stream, frame.offset, frame.body)).collect();
            prop_assert_eq!(seen, frames);
        }

        #[test]
        fn garbage_never_panics_and_gives_the_same_answer_however_it_is_cut(
            bytes in prop::collection::vec(prop_oneof![Just(0u8), Just(1u8), any::<u8>()], 0..400),
            cuts in prop::collection::vec(1usize..40, 0..100),
        ) {
            prop_assert_eq!(feed_in_pieces(&bytes, &cuts), feed_in_pieces(&bytes, &[]));
        }
    }

    #[test]
    fn a_claimed_length_costs_nothing_until_the_bytes_come() {
        let mut bytes = Vec::new();
        encode_header(Stream::Control, 0, MAX_CONTROL, &mut bytes);
        let mut decoder = Decoder::new();
        assert_eq!(decoder.feed(&mut bytes.as_slice()), Ok(None));
        let (frame, n_missing) = decoder.open.as_ref().expect("the header was whole");
        assert_eq!((frame.body.capacity(), *n_missing), (0, MAX_CONTROL));
        assert!(decoder.is_inside_frame());
    }

    #[test]
    fn a_frame_over_its_bound_is_refused_and_stays_refused() {
        let mut bytes = Vec::new();
        encode_header(Stream::Pty, 0, MAX_DATA + 1, &mut bytes);
        let mut decoder = Decoder::new();
        let expected = Err(FrameError::TooLong { length: MAX_DATA as u64 + 1, bound: MAX_DATA });
        assert_eq!(decoder.feed(&mut bytes.as_slice()), expected);
        assert_eq!(decoder.feed(&mut [].as_slice()), expected);
    }

    #[test]
    fn long_data_is_cut_and_its_offsets_go_on() {
        let mut bytes = Vec::new();
        encode_data(Stream::Stdout, 7, &vec![b'x'; MAX_DATA + 5], &mut bytes);
        let (frames, error) = feed_in_pieces(&bytes, &[]);
        assert_eq!(error, None);
        let shape: Vec<_> = frames.iter().map(|frame| (frame.offset, frame.body.len())).collect();
        assert_eq!(shape, [(7, MAX_DATA), (7 + MAX_DATA as u64, 5)]);
    }
}
