//! Laneway's own processes: holders and daemons, that other runs depend on. No stop and no search for leftovers
//! may ever touch one.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The name of the holder's program.
pub const HOLDER_PROGRAM: &str = "lane-holder";

/// The name of the command line's program, which is also the daemon's.
pub const LANE_PROGRAM: &str = "lane";

/// The arguments that make `lane` the daemon.
pub const DAEMON_WORDS: [&str; 2] = ["daemon", "serve"];

/// Whether the process is a holder or a daemon, by the program it executes and, for `lane`, its arguments.
pub fn is_our_own(pid: u32) -> bool {
    let Ok(program) = fs::read_link(format!("/proc/{pid}/exe")) else { return false };
    let name = program_name(&program);
    name == HOLDER_PROGRAM.as_bytes()
        || name == LANE_PROGRAM.as_bytes()
            && fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|command| is_daemon(&command))
}

/// Whether the process is a holder: all below it belongs to its run.
pub fn is_holder(pid: u32) -> bool {
    let program = fs::read_link(format!("/proc/{pid}/exe"));
    program.is_ok_and(|program| program_name(&program) == HOLDER_PROGRAM.as_bytes())
}

fn program_name(program: &Path) -> &[u8] {
    let name = program.file_name().unwrap_or_default().as_bytes();
    // What the kernel says when the file was replaced by an upgrade.
    name.strip_suffix(b" (deleted)").unwrap_or(name)
}

fn is_daemon(command: &[u8]) -> bool {
    let mut arguments = command.split(|byte| *byte == 0).skip(1);
    DAEMON_WORDS.iter().all(|word| arguments.next() == Some(word.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemon_is_known_by_its_program_and_words() {
        assert!(is_daemon(b"/usr/bin/lane\0daemon\0serve\0--report\0x\0"));
        assert!(!is_daemon(b"/usr/bin/lane\0daemon\0status\0"));
        assert!(!is_daemon(b"/usr/bin/lane\0"));
        assert_eq!(program_name(Path::new("/usr/bin/lane-holder (deleted)")), b"lane-holder");
    }
}
