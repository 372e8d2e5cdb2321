//! Every message and every stream of bytes: whatever is generated comes back as it was, and what is broken is an
//! error that costs no more than its own length.

use std::collections::HashSet;
use std::fmt::Debug;

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::coding::decode_control;
use super::*;
use crate::frame::{Decoder, HEADER_LENGTH, Stream, encode_data, encode_header};

pub(crate) fn bytes() -> impl Strategy<Value = ByteVec> {
    vec(any::<u8>(), 0..40).prop_map(ByteVec::from)
}

pub(crate) fn many_bytes() -> impl Strategy<Value = Vec<ByteVec>> {
    vec(bytes(), 0..5)
}

pub(crate) fn variables() -> impl Strategy<Value = Vec<(ByteVec, ByteVec)>> {
    vec((bytes(), bytes()), 0..5)
}

/// Feeds bytes in pieces that end at these places, and takes them for messages of type `M`. Answers what came of
/// them and how they ended: `Some(true)` inside of a frame, `None` with an error.
fn feed<M>(bytes: &[u8], cuts: &[usize]) -> (Vec<Incoming<M>>, Option<bool>)
where
    M: for<'b> Decode<'b, ()>,
{
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).chain([bytes.len()]).collect();
    ends.sort_unstable();
    let (mut decoder, mut all, mut begin) = (Decoder::new(), Vec::new(), 0);
    for end in ends {
        let mut piece = &bytes[begin..end];
        begin = end;
        loop {
            match decoder.feed_message(&mut piece) {
                Ok(Some(incoming)) => all.push(incoming),
                Ok(None) => break,
                Err(_) => return (all, None),
            }
        }
        assert!(piece.is_empty(), "what is not taken would be lost");
    }
    (all, Some(decoder.is_inside_frame()))
}

/// A conversation: messages with their tags, and output between them.
fn conversation<M: Arbitrary + Debug>() -> impl Strategy<Value = Vec<(Tag, M, Vec<u8>)>> {
    vec((any::<Tag>(), any::<M>(), vec(any::<u8>(), 0..200)), 1..5)
}

/// As it goes over the socket, and where each frame of it ends.
fn on_the_wire<M: Encode<()>>(conversation: &[(Tag, M, Vec<u8>)]) -> (Vec<u8>, Vec<usize>) {
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    for (tag, message, data) in conversation {
        encode(*tag, message, &mut bytes).unwrap();
        ends.push(bytes.len());
        encode_data(Stream::Pty, 7, data, &mut bytes);
        ends.push(bytes.len());
    }
    ends.dedup();
    (bytes, ends)
}

fn comes_back<M>(conversation: Vec<(Tag, M, Vec<u8>)>, cuts: &[usize], until: usize, flip: (usize, u8))
where
    M: Encode<()> + for<'b> Decode<'b, ()> + PartialEq + Debug,
{
    let (bytes, ends) = on_the_wire(&conversation);
    // Cut off in the middle: what was whole has come, and whether something is missing is known.
    let until = until % (bytes.len() + 1);
    let (cut_off, end) = feed::<M>(&bytes[..until], cuts);
    assert_eq!(cut_off.len(), ends.iter().filter(|end| **end <= until).count());
    assert_eq!(end, Some(until != 0 && !ends.contains(&until)));

    // With one byte that is another: the same answer, however it is cut.
    let mut flipped = bytes.clone();
    flipped[flip.0 % bytes.len()] ^= flip.1;
    assert_eq!(feed::<M>(&flipped, cuts), feed::<M>(&flipped, &[]));

    let expected = conversation.into_iter().flat_map(|(tag, message, data)| {
        let data = Incoming::Data { stream: Stream::Pty, offset: 7, bytes: data };
        [Incoming::Message { tag, message }, data]
    });
    let is_empty =
        |incoming: &Incoming<M>| matches!(incoming, Incoming::Data { bytes, .. } if bytes.is_empty());
    let expected: Vec<_> = expected.filter(|incoming| !is_empty(incoming)).collect();
    assert_eq!(feed::<M>(&bytes, cuts), (expected, Some(false)));
}

proptest! {
    #[test]
    fn every_request_comes_back_as_it_was(
        conversation in conversation::<ToHolder>(),
        cuts in vec(any::<usize>(), 0..20),
        until in any::<usize>(),
        flip in (any::<usize>(), 1u8..),
    ) {
        comes_back(conversation, &cuts, until, flip);
    }

    #[test]
    fn every_answer_comes_back_as_it_was(
        conversation in conversation::<FromHolder>(),
        cuts in vec(any::<usize>(), 0..20),
        until in any::<usize>(),
        flip in (any::<usize>(), 1u8..),
    ) {
        comes_back(conversation, &cuts, until, flip);
    }

    #[test]
    fn any_bytes_in_a_control_frame_are_a_message_an_unknown_one_or_an_error(
        // Such as begin like a message, and such as do not.
        body in prop_oneof![vec(any::<u8>(), 0..300), (0u8..30, vec(any::<u8>(), 0..300)).prop_map(|(number, rest)| {
            [&[0x82, 1, 0x82, number][..], &rest].concat()
        })],
        cuts in vec(any::<usize>(), 0..10),
    ) {
        let mut bytes = Vec::new();
        encode_header(Stream::Control, 0, body.len(), &mut bytes);
        bytes.extend_from_slice(&body);
        prop_assert_eq!(feed::<ToHolder>(&bytes, &cuts), feed::<ToHolder>(&bytes, &[]));
        prop_assert_eq!(feed::<FromHolder>(&bytes, &cuts), feed::<FromHolder>(&bytes, &[]));
    }
}

#[test]
fn the_generators_make_every_message() {
    /// The numbers of the messages, as the encoding has them: `[tag, [number, fields]]`.
    fn numbers<M: Arbitrary + Encode<()>>() -> HashSet<u32> {
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        (0..2000)
            .map(|_| {
                let message = any::<M>().new_tree(&mut runner).unwrap().current();
                let mut bytes = Vec::new();
                encode(1, &message, &mut bytes).unwrap();
                let mut decoder = minicbor::Decoder::new(&bytes[HEADER_LENGTH..]);
                decoder.array().unwrap();
                decoder.u32().unwrap();
                decoder.array().unwrap();
                decoder.u32().unwrap()
            })
            .collect()
    }
    // What is known is a message or broken for its lack of fields; the rest is unknown.
    fn known<M: for<'b> Decode<'b, ()>>() -> HashSet<u32> {
        let is_known = |number: &u32| {
            let mut body = vec![0x82, 1, 0x82];
            minicbor::encode(number, &mut body).unwrap();
            body.push(0x80);
            !matches!(decode_control::<M>(&body), Ok(Incoming::Unknown { .. }))
        };
        (0..1000).filter(is_known).collect()
    }
    assert_eq!(numbers::<ToHolder>(), known::<ToHolder>());
    assert_eq!(numbers::<FromHolder>(), known::<FromHolder>());
}
