//! The protocol as its users see it.

mod bounds;
mod compatibility;
mod sockets;
