//! The run's record: 4 KiB in the run's folder that always hold the truth about the run, also after a crash.
//!
//! The file has two slots of 2 KiB. A write goes to the slot that does not hold the newest record, so that a
//! torn write leaves the former one. The highest generation whose checksum is right counts. The file is made
//! and fsynced before the program is executed; the exit is an overwrite and so works on a full disk.
//!
//! | bytes of a slot | meaning |
//! |---|---|
//! | 0–7 | `LANEWAYr` |
//! | 8–15 | generation, little endian |
//! | 16–19 | length of the body, little endian |
//! | 20–23 | CRC-32 of bytes 8–19 and the body |
//! | 24… | the body: [`RunRecord`] in CBOR |

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use minicbor::{Decode, Encode};

use crate::file::open_regular;
use crate::message::{Limit, Offsets, ProcessIdentity, StartFailure};
use crate::process;

const MAGIC: &[u8; 8] = b"LANEWAYr";
const HEADER_LENGTH: usize = 24;
const SLOT_LENGTH: usize = 2048;
const N_SLOTS: usize = 2;

/// The length of the file in bytes.
pub const RECORD_LENGTH: usize = SLOT_LENGTH * N_SLOTS;

/// The longest message of a failed start that is kept, in bytes; the rest is cut.
const MAX_MESSAGE: usize = 1024;

/// The longest reason for the end of a recording that is kept, in bytes; the rest is cut.
const MAX_REASON: usize = 256;

/// What is recorded of a run.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct RunRecord {
    /// The version of the holder that wrote it, for people.
    #[n(0)]
    pub holder_version: String,
    /// The run's id.
    #[n(1)]
    pub run: String,
    /// The boot all of this belongs to; on another boot a run without an exit is lost.
    #[n(2)]
    pub boot_id: String,
    /// The holder.
    #[n(3)]
    pub holder: ProcessIdentity,
    /// Where the run is.
    #[n(4)]
    pub state: RecordState,
    /// How far the output was at the last write.
    #[n(5)]
    pub offsets: Offsets,
    /// Why the run is not recorded any more, if it was to be.
    #[n(6)]
    pub recording_stopped: Option<String>,
}

impl RunRecord {
    /// Whether the holder that wrote it runs. One of another boot does not, whoever has its number now.
    pub fn holder_runs(&self) -> bool {
        // Where the boot cannot be told, what seems to run is not said to be gone.
        process::boot_id().map_or(true, |boot| boot == self.boot_id) && process::is_alive(self.holder)
    }
}

/// Where a recorded run is.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub enum RecordState {
    /// The program is about to be executed; it may or may not have been.
    #[n(0)]
    Starting,
    /// The program could not be executed.
    #[n(1)]
    StartFailed(#[n(0)] StartFailure),
    /// The program was executed.
    #[n(2)]
    Running {
        /// The program.
        #[n(0)]
        program: ProcessIdentity,
        /// When, in microseconds since 1970 UTC.
        #[n(1)]
        started_at_micros: u64,
    },
    /// The program has ended.
    #[n(3)]
    Exited {
        /// The program.
        #[n(0)]
        program: ProcessIdentity,
        /// When it was executed, in microseconds since 1970 UTC.
        #[n(1)]
        started_at_micros: u64,
        /// When it ended, in microseconds since 1970 UTC.
        #[n(2)]
        exited_at_micros: u64,
        /// The status as `waitpid` gave it.
        #[n(3)]
        wait_status: i32,
        /// See [`Exited::hung_up`](crate::message::Exited::hung_up).
        #[n(4)]
        #[cbor(default)]
        hung_up: bool,
        /// See [`Exited::limit`](crate::message::Exited::limit).
        #[n(5)]
        limit: Option<Limit>,
    },
}

/// Whether a folder is on a filesystem that is kept in memory only. A run is refused there: its record, and with it
/// the knowledge that it ever ran, would not survive a reboot.
pub fn is_in_memory(folder: impl AsFd) -> io::Result<bool> {
    const TMPFS: u64 = 0x0102_1994;
    const RAMFS: u64 = 0x8584_58f6;
    let kind = rustix::fs::fstatfs(folder)?.f_type.cast_unsigned();
    Ok(kind == TMPFS || kind == RAMFS)
}

/// Why a record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file could not be used.
    #[error("the run's record cannot be {doing}")]
    File {
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No slot holds a valid record.
    #[error("the run's record is damaged")]
    Damaged,
    /// The record does not fit its slot.
    #[error("a record of {0} bytes does not fit")]
    TooLong(usize),
}

fn failed(doing: &'static str) -> impl FnOnce(io::Error) -> RecordError {
    move |source| RecordError::File { doing, source }
}

/// The record's file, held open by the one who writes it.
#[derive(Debug)]
pub struct RecordFile {
    file: File,
    generation: u64,
}

impl RecordFile {
    /// Makes the file, `0600`, with its first record, and fsyncs it. A file that is already there is an error: a
    /// run has one holder.
    ///
    /// Its folder is not synced: ext4, xfs and btrfs make the name of a new file durable with the file, and a second
    /// wait for the disk is felt at every start. Where a filesystem does not, a power cut in the seconds after
    /// can take the record, and what was alive then is lost anyway, which is what the daemon says of it.
    pub fn create(path: &Path, record: &RunRecord) -> Result<Self, RecordError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let file = options.open(path).map_err(failed("made"))?;
        file.write_all_at(&[0; RECORD_LENGTH], 0).map_err(failed("written"))?;
        let mut this = Self { file, generation: 0 };
        this.write(record)?;
        this.file.sync_all().map_err(failed("synced"))?;
        Ok(this)
    }

    /// Writes the next record; a crash of the process loses nothing of it, one of the machine may.
    pub fn write(&mut self, record: &RunRecord) -> Result<(), RecordError> {
        let generation = self.generation + 1;
        let slot = encode_slot(generation, record)?;
        let place = generation % N_SLOTS as u64 * SLOT_LENGTH as u64;
        self.file.write_all_at(&slot, place).map_err(failed("written"))?;
        self.generation = generation;
        Ok(())
    }

    /// Writes the next record and waits until the disk has it.
    pub fn write_durably(&mut self, record: &RunRecord) -> Result<(), RecordError> {
        self.write(record)?;
        self.file.sync_data().map_err(failed("synced"))
    }
}

/// Reads the newest valid record.
pub fn read(path: &Path) -> Result<RunRecord, RecordError> {
    let file = open_regular(path).map_err(failed("opened"))?;
    let mut bytes = [0; RECORD_LENGTH];
    let mut n_read = 0;
    while n_read < RECORD_LENGTH {
        match file.read_at(&mut bytes[n_read..], n_read as u64) {
            Ok(0) => break,
            Ok(n) => n_read += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed("read")(error)),
        }
    }
    decode(&bytes)
}

fn decode(bytes: &[u8]) -> Result<RunRecord, RecordError> {
    let newest = bytes.chunks(SLOT_LENGTH).filter_map(decode_slot).max_by_key(|(generation, _)| *generation);
    newest.map(|(_, record)| record).ok_or(RecordError::Damaged)
}

fn encode_slot(generation: u64, record: &RunRecord) -> Result<Vec<u8>, RecordError> {
    let mut record = record.clone();
    if let RecordState::StartFailed(failure) = &mut record.state {
        failure.message.truncate(failure.message.floor_char_boundary(MAX_MESSAGE));
    }
    if let Some(reason) = &mut record.recording_stopped {
        reason.truncate(reason.floor_char_boundary(MAX_REASON));
    }
    let body = minicbor::to_vec(&record).expect("a Vec takes every byte");
    if body.len() > SLOT_LENGTH - HEADER_LENGTH {
        return Err(RecordError::TooLong(body.len()));
    }
    let mut slot = Vec::with_capacity(SLOT_LENGTH);
    slot.extend_from_slice(MAGIC);
    slot.extend_from_slice(&generation.to_le_bytes());
    slot.extend_from_slice(&(body.len() as u32).to_le_bytes());
    slot.extend_from_slice(&checksum(&slot[8..20], &body).to_le_bytes());
    slot.extend_from_slice(&body);
    slot.resize(SLOT_LENGTH, 0);
    Ok(slot)
}

fn decode_slot(slot: &[u8]) -> Option<(u64, RunRecord)> {
    let (header, rest) = slot.split_first_chunk::<HEADER_LENGTH>()?;
    if &header[..8] != MAGIC {
        return None;
    }
    let generation = u64::from_le_bytes(header[8..16].try_into().ok()?);
    let length = u32::from_le_bytes(header[16..20].try_into().ok()?);
    let expected = u32::from_le_bytes(header[20..24].try_into().ok()?);
    let body = rest.get(..usize::try_from(length).ok()?)?;
    if checksum(&header[8..20], body) != expected {
        return None;
    }
    Some((generation, minicbor::decode(body).ok()?))
}

fn checksum(head: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(body);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::StartStage;
    use proptest::prelude::*;

    fn record(state: RecordState) -> RunRecord {
        RunRecord {
            holder_version: "0.1.0".into(),
            run: "rn_01K0000000000000000000000A".into(),
            boot_id: "b5e0f1d2-0000-4000-8000-000000000000".into(),
            holder: ProcessIdentity { pid: 7, start_ticks: 8 },
            state,
            offsets: Offsets::default(),
            recording_stopped: None,
        }
    }

    fn running() -> RunRecord {
        let program = ProcessIdentity { pid: 9, start_ticks: 10 };
        record(RecordState::Running { program, started_at_micros: 11 })
    }

    #[test]
    fn the_newest_record_counts_and_a_torn_write_leaves_the_former() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record");
        let mut file = RecordFile::create(&path, &record(RecordState::Starting)).unwrap();
        assert_eq!(read(&path).unwrap(), record(RecordState::Starting));
        file.write_durably(&running()).unwrap();
        assert_eq!(read(&path).unwrap(), running());
        assert_eq!(std::fs::metadata(&path).unwrap().len(), RECORD_LENGTH as u64);
        // Generation 2 stands in the first slot.
        let torn = OpenOptions::new().write(true).open(&path).unwrap();
        torn.write_all_at(&[0xff; 9], 100).unwrap();
        assert_eq!(read(&path).unwrap(), record(RecordState::Starting));
        torn.write_all_at(&[0xff; 9], SLOT_LENGTH as u64 + 100).unwrap();
        assert!(matches!(read(&path), Err(RecordError::Damaged)));
    }

    #[test]
    fn a_second_holder_cannot_take_the_record() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record");
        RecordFile::create(&path, &running()).unwrap();
        assert!(matches!(
            RecordFile::create(&path, &running()),
            Err(RecordError::File { doing: "made", .. })
        ));
    }

    #[test]
    fn a_long_message_is_cut_to_fit() {
        let message = "ü".repeat(2000);
        let failure = StartFailure { stage: StartStage::Exec, errno: 2, message };
        let slot = encode_slot(1, &record(RecordState::StartFailed(failure))).unwrap();
        assert!(matches!(decode_slot(&slot).unwrap().1.state, RecordState::StartFailed(_)));
    }

    #[test]
    fn what_is_no_file_is_an_error_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
        for path in [&pipe, folder.path(), Path::new("/dev/zero")] {
            assert!(
                matches!(read(path), Err(RecordError::File { doing: "opened", .. })),
                "{}",
                path.display()
            );
        }
    }

    proptest! {
        #[test]
        fn every_record_comes_back_as_it_was_or_does_not_fit(record: RunRecord, generation: u64) {
            let expected = RunRecord { recording_stopped: None, ..record.clone() };
            let Ok(slot) = encode_slot(generation, &record) else { return Ok(()) };
            let (read_generation, read) = decode_slot(&slot).unwrap();
            prop_assert_eq!(read_generation, generation);
            prop_assert_eq!(RunRecord { recording_stopped: None, ..read }, expected);
        }

        #[test]
        fn no_damage_is_taken_for_a_record(at in 0usize..SLOT_LENGTH, flip in 1u8..) {
            let whole = encode_slot(3, &running()).unwrap();
            let mut slot = whole.clone();
            slot[at] ^= flip;
            let read = decode_slot(&slot);
            // Only the unused rest of the slot is outside the checksum.
            prop_assert!(read.is_none() || read == decode_slot(&whole));
        }

        #[test]
        fn garbage_is_damaged_and_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..RECORD_LENGTH)) {
            prop_assert!(decode(&bytes).is_err());
        }
    }
}
