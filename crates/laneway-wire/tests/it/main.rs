//! The protocol as its users see it.

mod compatibility;
mod sockets;
