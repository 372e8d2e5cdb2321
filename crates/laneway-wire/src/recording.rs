//! The files of a recorded run, in the run's folder: `recording-000001.cast` and so on. Each is an asciicast v2
//! file that plays alone: it says the terminal's size, and from the second one on it begins with the screen as it
//! was. The newest few are kept.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const PREFIX: &str = "recording-";
const SUFFIX: &str = ".cast";

/// The name of a part of a recording; parts are numbered from 1.
pub fn file_name(part: u64) -> String {
    format!("{PREFIX}{part:06}{SUFFIX}")
}

/// The number of the part that a file of this name is.
pub fn part_of(name: &OsStr) -> Option<u64> {
    let digits = name.to_str()?.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let part = digits.parse().ok()?;
    // Only the one way of writing it is ours.
    (part > 0 && file_name(part).as_str() == name).then_some(part)
}

/// The parts that are in a run's folder, the oldest first.
pub fn parts(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut parts = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if let Some(part) = part_of(&entry.file_name()) {
            parts.push((part, entry.path()));
        }
    }
    parts.sort_unstable();
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_known_by_their_names_and_come_in_order() {
        for (name, part) in [
            ("recording-000001.cast", Some(1)),
            ("recording-1234567.cast", Some(1_234_567)),
            ("recording-1.cast", None),
            ("recording-000000.cast", None),
            ("recording-+00001.cast", None),
            ("recording-000001.cast.gz", None),
            ("record", None),
        ] {
            assert_eq!(part_of(OsStr::new(name)), part, "{name}");
        }
        let folder = tempfile::tempdir().unwrap();
        for part in [1_000_000, 2, 999_999] {
            fs::write(folder.path().join(file_name(part)), "").unwrap();
        }
        fs::write(folder.path().join("screen"), "").unwrap();
        let found: Vec<u64> = parts(folder.path()).unwrap().into_iter().map(|(part, _)| part).collect();
        assert_eq!(found, [2, 999_999, 1_000_000]);
    }
}
