//! The holder as its users see it: real programs under the real binary.
