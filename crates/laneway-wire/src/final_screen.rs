//! The last screen of a run and its history, written to the run's folder when the program has ended.
//!
//! It is written beside the record as a help for people, best effort: under a temporary name, fsynced, renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use minicbor::{Decode, Encode};

use crate::SCREEN_NAME;
use crate::file::open_regular;
use crate::message::{Cursor, Offsets, Size, bounded};

/// The longest file that is written and read, in bytes: 10 000 lines of 1 000 columns, each cell with a colour of
/// its own, fit in.
const MAX_LENGTH: u64 = 256 << 20;

/// What a run showed when its program had ended.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct FinalScreen {
    /// How far the output was.
    #[n(0)]
    pub offsets: Offsets,
    /// The terminal's part.
    #[n(1)]
    pub terminal: Option<FinalTerminal>,
    /// The pipes' part.
    #[n(2)]
    pub pipes: Option<FinalPipes>,
}

/// The last state of a terminal.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct FinalTerminal {
    /// Its size.
    #[n(0)]
    pub size: Size,
    /// Where the cursor was.
    #[n(1)]
    pub cursor: Cursor,
    /// The title, if the program had set one.
    #[n(2)]
    pub title: Option<String>,
    /// Whether the alternate screen was shown.
    #[n(3)]
    pub alternate_screen: bool,
    /// History and screen as logical lines, each with its own colours and attributes as escape sequences.
    #[n(4)]
    #[cbor(decode_with = "bounded::list")]
    pub lines: Vec<String>,
    /// The screen's rows, the same way: what `lines` ends with, before rows were joined.
    #[n(5)]
    #[cbor(decode_with = "bounded::list")]
    pub screen: Vec<String>,
    /// Written to a terminal of this size these bytes draw the last screen.
    #[n(6)]
    #[cbor(with = "minicbor::bytes")]
    pub snapshot: Vec<u8>,
    /// For each of `lines` the offset of `Pty` behind which it was changed last. Empty in files of older holders.
    #[n(7)]
    #[cbor(default, decode_with = "bounded::list")]
    pub changed: Vec<u64>,
}

/// The kept ends of the output of a program on pipes, up to 1 MiB each; they end at the offsets.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct FinalPipes {
    /// Standard output.
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub stdout: Vec<u8>,
    /// Standard error.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub stderr: Vec<u8>,
}

/// Why a last screen could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FinalScreenError {
    /// The file could not be used.
    #[error("the run's last screen cannot be {doing}")]
    File {
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is not one of a last screen.
    #[error("the run's last screen is damaged")]
    Damaged(#[source] minicbor::decode::Error),
}

fn failed(doing: &'static str) -> impl FnOnce(io::Error) -> FinalScreenError {
    move |source| FinalScreenError::File { doing, source }
}

fn within_bound(length: u64) -> io::Result<()> {
    if length > MAX_LENGTH { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(()) }
}

impl FinalScreen {
    /// Writes it into the run's folder, `0600`; there is never a half-written one under its name.
    pub fn write(&self, folder: &Path) -> Result<(), FinalScreenError> {
        let bytes = minicbor::to_vec(self).expect("a Vec takes every byte");
        within_bound(bytes.len() as u64).map_err(failed("written"))?;
        let temporary = folder.join(".screen.new");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&temporary).map_err(failed("made"))?;
        let written = file.write_all(&bytes).and_then(|()| file.sync_all());
        let renamed = written.and_then(|()| fs::rename(&temporary, folder.join(SCREEN_NAME)));
        if let Err(error) = renamed {
            // Half a file helps nobody, and its name is ours.
            drop(fs::remove_file(&temporary));
            return Err(failed("written")(error));
        }
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("synced into its folder"))
    }

    /// Reads it from the run's folder.
    pub fn read(folder: &Path) -> Result<Self, FinalScreenError> {
        let file = open_regular(&folder.join(SCREEN_NAME)).map_err(failed("opened"))?;
        let length = file.metadata().map_err(failed("read"))?.len();
        within_bound(length).map_err(failed("read"))?;
        let mut bytes = Vec::new();
        file.take(length).read_to_end(&mut bytes).map_err(failed("read"))?;
        minicbor::decode(&bytes).map_err(FinalScreenError::Damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_comes_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let screen = FinalScreen {
            offsets: Offsets { pty: 5, stdout: 0, stderr: 0 },
            terminal: Some(FinalTerminal {
                size: Size { columns: 80, rows: 24 },
                cursor: Cursor { column: 1, row: 2, visible: true },
                title: None,
                alternate_screen: false,
                lines: vec!["a".into()],
                screen: vec!["b".into()],
                snapshot: vec![0, 0xff],
                changed: vec![3],
            }),
            pipes: None,
        };
        screen.write(folder.path()).unwrap();
        assert_eq!(FinalScreen::read(folder.path()).unwrap(), screen);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        fs::write(folder.path().join(SCREEN_NAME), b"\xff").unwrap();
        assert!(matches!(FinalScreen::read(folder.path()), Err(FinalScreenError::Damaged(_))));
    }
    #[test]
    fn what_is_no_file_or_endless_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(SCREEN_NAME);
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).unwrap();
        assert!(matches!(
            FinalScreen::read(folder.path()),
            Err(FinalScreenError::File { doing: "opened", .. })
        ));
        fs::remove_file(&path).unwrap();
        // It takes no room: it is nothing but a hole.
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert!(matches!(
            FinalScreen::read(folder.path()),
            Err(FinalScreenError::File { doing: "read", .. })
        ));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_screen_comes_back_and_a_broken_one_never_panics(
            screen: FinalScreen,
            until: usize,
            flip in (any::<usize>(), 1u8..),
        ) {
            let bytes = minicbor::to_vec(&screen).unwrap();
            prop_assert_eq!(minicbor::decode::<FinalScreen>(&bytes).unwrap(), screen);
            prop_assert!(minicbor::decode::<FinalScreen>(&bytes[..until % bytes.len()]).is_err());
            let mut flipped = bytes;
            let at = flip.0 % flipped.len();
            flipped[at] ^= flip.1;
            drop(minicbor::decode::<FinalScreen>(&flipped));
        }
    }
}
