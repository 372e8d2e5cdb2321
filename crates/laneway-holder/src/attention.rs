//! Whether a program does nothing but wait for what comes next over a socket, by what the kernel says of it.

use std::fs;

/// Whether the process has one thread, and that waits in a read of the socket with this inode. False if it cannot be
/// seen: programs that wait for several things at once, and those of who may not look.
pub(crate) fn only_reads(pid: u32, inode: u64) -> bool {
    let n_threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    let Ok(call) = fs::read_to_string(format!("/proc/{pid}/syscall")) else { return false };
    let Some(descriptor) = read_from(&call).filter(|_| n_threads == 1) else { return false };
    let link = fs::read_link(format!("/proc/{pid}/fd/{descriptor}"));
    link.is_ok_and(|link| link.as_os_str() == format!("socket:[{inode}]").as_str())
}

/// The descriptor that is read, if the call is a read: its number, and its arguments in hexadecimal.
fn read_from(call: &str) -> Option<u32> {
    let mut words = call.split_ascii_whitespace();
    let number: i64 = words.next()?.parse().ok()?;
    let is_read = [libc::SYS_read, libc::SYS_recvfrom, libc::SYS_recvmsg].contains(&number);
    let descriptor = words.next()?.strip_prefix("0x")?;
    u32::from_str_radix(descriptor, 16).ok().filter(|_| is_read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_read_is_one() {
        let read = format!("{} 0x1f 0x7efe 0x20000 0x0 0x0 0x0 0x7ffe 0x7efe", libc::SYS_read);
        assert_eq!(read_from(&read), Some(31));
        let wait = format!("{} 0x4 0x7efe 0x20000 0x0 0x0 0x0 0x7ffe 0x7efe", libc::SYS_epoll_pwait);
        for no_read in [&wait, "running", "-1 0x7ffe 0x7efe", ""] {
            assert_eq!(read_from(no_read), None, "{no_read}");
        }
    }
}
