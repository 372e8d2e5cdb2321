//! The kept end of a stream of output.

use std::collections::VecDeque;

/// The last bytes of a stream, at most a fixed number of them, with the offset they stand at.
#[derive(Debug)]
pub(crate) struct Tail {
    bytes: VecDeque<u8>,
    capacity: usize,
    end: u64,
}

impl Tail {
    /// An empty one that keeps up to `capacity` bytes; it takes memory as bytes come.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { bytes: VecDeque::new(), capacity, end: 0 }
    }

    /// The offset behind the last byte: how long the stream is.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// The offset of the oldest kept byte.
    pub(crate) fn start(&self) -> u64 {
        self.end - self.bytes.len() as u64
    }

    /// How many bytes can come before the first one of the stream is dropped.
    pub(crate) fn n_free(&self) -> usize {
        self.capacity - self.bytes.len()
    }

    /// Appends to the stream.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.end += bytes.len() as u64;
        let bytes = &bytes[bytes.len().saturating_sub(self.capacity)..];
        let n_surplus = (self.bytes.len() + bytes.len()).saturating_sub(self.capacity);
        self.bytes.drain(..n_surplus);
        self.bytes.extend(bytes);
    }

    /// Everything kept from `offset` on, in two pieces; `None` if some of it is gone or it is yet to come.
    pub(crate) fn since(&self, offset: u64) -> Option<[&[u8]; 2]> {
        let n_skipped = usize::try_from(offset.checked_sub(self.start())?).ok()?;
        let (first, second) = self.bytes.as_slices();
        if n_skipped > self.bytes.len() {
            return None;
        }
        Some(match n_skipped.checked_sub(first.len()) {
            Some(n_more) => [&[], &second[n_more..]],
            None => [&first[n_skipped..], second],
        })
    }

    /// All that is kept.
    pub(crate) fn to_vec(&self) -> Vec<u8> {
        let (first, second) = self.bytes.as_slices();
        [first, second].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_the_end_of_the_stream(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20),
            capacity in 1usize..64,
            offset in 0u64..400,
        ) {
            let mut tail = Tail::new(capacity);
            for piece in &pieces {
                tail.push(piece);
            }
            let all = pieces.concat();
            prop_assert_eq!(tail.end(), all.len() as u64);
            let start = all.len().saturating_sub(capacity);
            prop_assert_eq!(tail.start(), start as u64);
            prop_assert_eq!(tail.to_vec(), &all[start..]);
            prop_assert_eq!(tail.n_free(), capacity - (all.len() - start));
            let expected = all.get(offset as usize..).filter(|_| offset as usize >= start);
            let since = tail.since(offset).map(|parts| parts.concat());
            prop_assert_eq!(since.as_deref(), expected);
        }
    }
}
