//! Messages in control frames: written, and read again.

use minicbor::{Decode, Encode};

use super::Tag;
use crate::frame::{Decoder, Frame, FrameError, MAX_CONTROL, Stream, encode_header};

/// Why a whole frame was no message.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// The bytes are not frames.
    #[error("not the holder's protocol")]
    Frame(#[from] FrameError),
    /// The control frame's body is broken.
    #[error("a control frame cannot be read")]
    Body(#[source] minicbor::decode::Error),
}

/// The message would be longer than a control frame may be ([`MAX_CONTROL`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message of {length} bytes is over the limit of {MAX_CONTROL}")]
pub struct TooLong {
    /// The length of the encoded message in bytes.
    pub length: usize,
}

/// What a frame turned out to be.
#[derive(Debug, Clone, PartialEq)]
pub enum Incoming<M> {
    /// A message.
    Message {
        /// The tag of the request it is or answers.
        tag: Tag,
        /// The message.
        message: M,
    },
    /// A message of a newer peer that this build does not know.
    Unknown {
        /// The tag of the request it is or answers.
        tag: Tag,
    },
    /// Data on one of the other streams.
    Data {
        /// Which stream.
        stream: Stream,
        /// Where the first byte stands in the stream.
        offset: u64,
        /// The bytes.
        bytes: Vec<u8>,
    },
}

impl Decoder {
    /// Like [`Decoder::feed`], with control frames read as messages of type `M`: [`super::ToHolder`] in the holder,
    /// [`super::FromHolder`] elsewhere.
    pub fn feed_message<M>(&mut self, input: &mut &[u8]) -> Result<Option<Incoming<M>>, MessageError>
    where
        M: for<'b> Decode<'b, ()>,
    {
        match self.feed(input)? {
            None => Ok(None),
            Some(Frame { stream: Stream::Control, body, .. }) => decode_control(&body).map(Some),
            Some(Frame { stream, offset, body }) => Ok(Some(Incoming::Data { stream, offset, bytes: body })),
        }
    }
}

pub(super) fn decode_control<M>(body: &[u8]) -> Result<Incoming<M>, MessageError>
where
    M: for<'b> Decode<'b, ()>,
{
    let mut decoder = minicbor::Decoder::new(body);
    decoder.array().map_err(MessageError::Body)?;
    let tag = decoder.u32().map_err(MessageError::Body)?;
    match decoder.decode::<M>() {
        Ok(message) => Ok(Incoming::Message { tag, message }),
        Err(error) if error.is_unknown_variant() => Ok(Incoming::Unknown { tag }),
        Err(error) => Err(MessageError::Body(error)),
    }
}

/// Appends `message` as a control frame.
pub fn encode<M: Encode<()>>(tag: Tag, message: &M, into: &mut Vec<u8>) -> Result<(), TooLong> {
    // An array of two, written by hand so that the tag can be read when the message cannot.
    let mut body = vec![0x82];
    minicbor::encode(tag, &mut body).expect("a Vec takes every byte");
    minicbor::encode(message, &mut body).expect("a Vec takes every byte");
    if body.len() > MAX_CONTROL {
        return Err(TooLong { length: body.len() });
    }
    encode_header(Stream::Control, 0, body.len(), into);
    into.extend_from_slice(&body);
    Ok(())
}
