//! Numbers that follow from a seed.

/// One stream of them (`SplitMix64`).
pub(in crate::chaos) struct Random(u64);

impl Random {
    /// The streams of one seed have nothing to do with each other, nor have those of neighbouring seeds.
    pub(in crate::chaos) fn new(seed: u64, stream: u64) -> Self {
        Self(mixed(mixed(seed).wrapping_add(stream)))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    /// One of `0..end`.
    pub(in crate::chaos) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// One of them.
    pub(in crate::chaos) fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        let which = self.below(of.len() as u64);
        of[usize::try_from(which).expect("it is an index")]
    }
}

/// Numbers that differ little become such that differ much.
fn mixed(number: u64) -> u64 {
    let mut z = number;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_stream_goes_where_another_has_been() {
        let mut seen = HashSet::new();
        for (seed, stream) in (0..4).flat_map(|seed| (0..6).map(move |stream| (seed, stream))) {
            let mut random = Random::new(seed, stream);
            assert!((0..2_000).all(|_| seen.insert(random.next())), "stream {stream} of seed {seed}");
        }
    }
}
