//! The crate on real repositories.
