//! The mark of a run on its processes: a soft `RLIMIT_LOCKS` value made from the run's id.
//!
//! Linux keeps that limit but has ignored it since 2.4.25, so that it costs a program nothing; it is inherited,
//! survives `env -i`, and `/proc/PID/limits` shows it to every process of the same user. The other mark is
//! [`RUN_VARIABLE`] in the environment.

/// The variable in the environment of a run's processes that holds the run's id.
pub const RUN_VARIABLE: &str = "LANEWAY_RUN";

/// The soft `RLIMIT_LOCKS` value that marks the processes of `run_id`. It lies in 2^62 … 2^63 - 1: far above
/// any limit that somebody would set, below "unlimited", and the same in every build.
pub fn lock_limit(run_id: &str) -> u64 {
    // FNV-1a, 64 bits: the value is written into running processes and so must never change.
    let hash = run_id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    (hash & (u64::MAX >> 2)) | (1 << 62)
}

/// Whether a soft `RLIMIT_LOCKS` value is the mark of some run.
pub const fn is_lock_limit_of_a_run(limit: u64) -> bool {
    limit >> 62 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_of_a_run_is_fixed_and_in_its_range() {
        assert_eq!(lock_limit("rn_01K0000000000000000000000A"), lock_limit("rn_01K0000000000000000000000A"));
        assert_ne!(lock_limit("rn_01K0000000000000000000000A"), lock_limit("rn_01K0000000000000000000000B"));
        assert_eq!(lock_limit(""), 0x4bf2_9ce4_8422_2325);
        assert!(is_lock_limit_of_a_run(lock_limit("anything")) && !is_lock_limit_of_a_run(u64::MAX));
        assert!((1 << 62..1 << 63).contains(&lock_limit("anything")));
    }
}
