//! Fault points: named places between two steps, where a crash would matter. `cargo xtask chaos` walks them all.
//!
//! A build without the feature `fault-points` has no code of them. In one that has it, the environment says what
//! happens at a point:
//!
//! * [`FAULT`]`=NAME:kill[:NTH]`: the process that reaches the point (for the NTH time) is killed as by `kill -9`.
//! * [`FAULT`]`=NAME:pause[:NTH]`: it waits at [`GATE`], a FIFO. Opening that for writing waits until somebody is at
//!   the point, and closing it lets him go on.
//! * [`LOG`]`=FILE`: every point that is reached is written there, as `PID NAME`; one that kills as `PID NAME kill`.
//!
//! A new point stands in [`POINTS`] and at its place: `fault_point!("area.what-has-just-been-done")`. A name that is
//! not in the list does not compile; one that no operation of the walk reaches fails the walk.

#[cfg(feature = "fault-points")]
mod armed;
mod points;

#[cfg(feature = "fault-points")]
pub use armed::{reach, variables};
pub use points::POINTS;

/// The variable that says what happens where.
pub const FAULT: &str = "LANEWAY_FAULT";

/// The variable with the FIFO that a paused process waits at.
pub const GATE: &str = "LANEWAY_FAULT_GATE";

/// The variable with the file that reached points are written to.
pub const LOG: &str = "LANEWAY_FAULT_LOG";

/// A place where the process can be made to crash or to wait, by its name in [`POINTS`].
#[cfg(feature = "fault-points")]
#[macro_export]
macro_rules! fault_point {
    ($name:literal) => {{
        const _: () = assert!($crate::is_point($name), "not in POINTS");
        $crate::reach($name);
    }};
}

/// A place where the process can be made to crash or to wait, by its name in [`POINTS`]: in this build it is none.
#[cfg(not(feature = "fault-points"))]
#[macro_export]
macro_rules! fault_point {
    ($name:literal) => {{
        const _: () = assert!($crate::is_point($name), "not in POINTS");
    }};
}

/// The variables that a program with an environment of its own is given, so that its points are reached too: none in
/// this build.
#[cfg(not(feature = "fault-points"))]
pub fn variables() -> std::iter::Empty<(&'static str, std::ffi::OsString)> {
    std::iter::empty()
}

/// Whether there is a point of that name.
pub const fn is_point(name: &str) -> bool {
    let mut n = 0;
    while n < POINTS.len() {
        if is_same(POINTS[n].as_bytes(), name.as_bytes()) {
            return true;
        }
        n += 1;
    }
    false
}

const fn is_same(one: &[u8], other: &[u8]) -> bool {
    let mut n = 0;
    while n < one.len() && n < other.len() && one[n] == other[n] {
        n += 1;
    }
    n == one.len() && n == other.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_and_stand_once_in_the_list() {
        for (n, point) in POINTS.iter().enumerate() {
            assert!(is_point(point) && !is_point(&point[1..]) && !is_point(&format!("{point}s")));
            assert!(!POINTS[..n].contains(point), "{point}");
        }
    }
}
