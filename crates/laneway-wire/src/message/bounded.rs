//! Lists in messages. An item of a list may take one byte in a frame and many times that in memory, so their
//! number is bounded, as that of their bytes is.

use minicbor::decode::Error;
use minicbor::{Decode, Decoder};

/// The most items of one list: as many lines as 1 MiB of line ends.
pub(crate) const MAX_ITEMS: usize = 1 << 20;

/// Reads a list of at most [`MAX_ITEMS`].
pub(crate) fn list<'b, C, T: Decode<'b, C>>(
    decoder: &mut Decoder<'b>,
    context: &mut C,
) -> Result<Vec<T>, Error> {
    let at = decoder.position();
    let mut items = Vec::new();
    for item in decoder.array_iter_with(context)? {
        if items.len() == MAX_ITEMS {
            return Err(Error::message("a list of too many items").at(at));
        }
        items.push(item?);
    }
    Ok(items)
}
