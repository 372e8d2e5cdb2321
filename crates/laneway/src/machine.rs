//! The machine around this program, asked and not changed: other programs, systemd, the kernel, filesystems.

pub(crate) mod program;
pub(crate) mod systemd;
