//! Requests that are sent twice because the first answer was lost: a key that the client makes up says that they are
//! one, and the second gets the answer of the first, for 24 hours and also of the next daemon.
//!
//! ```text
//! key new ─► file "begun" ─► the request is done ─► file with its answer
//! key known: its answer │ begun by this daemon: under way │ begun by one that is gone: nobody knows what came of it
//! ```

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use laneway_api::error::{ErrorKind, Problem};
use laneway_core::os_text::OsText;
use laneway_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::clock::now;
use crate::files::{hexadecimal, read_if_there, sync_folder_of, write_whole};
use crate::problem::failed_in_words;

/// How long an answer is kept, in microseconds: 24 hours.
const KEPT_FOR: i64 = 24 * 3_600 * 1_000_000;

/// How often it is looked for what is older than that, in microseconds: once an hour, when a key comes.
const SWEEP_EVERY: i64 = 3_600 * 1_000_000;

/// The longest key, in characters.
const MAX_KEY: usize = 128;

/// What is kept of requests with a key. A clone is another handle on the same.
#[derive(Debug, Clone)]
pub(crate) struct Repeats {
    folder: Arc<PathBuf>,
    /// Which daemon this is: when it began, in microseconds since 1970.
    daemon: i64,
    /// When it was last looked for what is old.
    swept_at: Arc<AtomicI64>,
    files: Files,
}

/// Whoever writes files shares this, and who removes old ones has it alone: so none is removed that has just come in
/// the place of an old one, or is being written.
type Files = Arc<RwLock<()>>;

/// An answer as it was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answer {
    /// The HTTP status.
    pub(crate) status: u16,
    /// What the body is.
    pub(crate) content_type: Option<String>,
    /// The body.
    pub(crate) body: OsText,
}

/// What is kept of one request.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    /// The hash of all that it says.
    request: String,
    /// When it came.
    at: i64,
    /// The daemon that began with it.
    daemon: i64,
    /// None while it is being done.
    answer: Option<Answer>,
}

/// A request that is to be done now.
#[derive(Debug)]
pub(crate) struct Begun {
    path: PathBuf,
    files: Files,
    kept: Kept,
}

/// What a request with a key comes to.
#[derive(Debug)]
pub(crate) enum Found {
    /// It is new.
    New(Begun),
    /// It was answered before.
    Before(Answer),
}

impl Repeats {
    /// Those in this folder; what is older than 24 hours goes.
    pub(crate) fn open(folder: PathBuf, began_at: Timestamp) -> Self {
        let repeats = Self {
            folder: Arc::new(folder),
            daemon: began_at.0,
            swept_at: Arc::default(),
            files: Files::default(),
        };
        repeats.sweep();
        repeats
    }

    /// Removes what is old, unless that was done within the hour.
    fn sweep(&self) {
        let (now, before) = (now().0, self.swept_at.load(Ordering::Relaxed));
        if (0..SWEEP_EVERY).contains(&now.saturating_sub(before)) {
            return;
        }
        let mine = self.swept_at.compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if mine && let Err(error) = self.forget_the_old() {
            tracing::warn!(%error, "answers of yesterday could not be removed");
        }
    }

    fn forget_the_old(&self) -> io::Result<()> {
        let _alone = self.files.write().unwrap_or_else(PoisonError::into_inner);
        for entry in fs::read_dir(&*self.folder)? {
            let path = entry?.path();
            let is_old = match read(&path) {
                Ok(kept) => kept.is_none_or(|kept| kept.is_old()),
                Err(error) => error.kind() == io::ErrorKind::InvalidData,
            };
            if is_old {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// Looks whether a request with this key came before. `says` is all that tells it from another one. Blocks.
    pub(crate) fn look(&self, key: &str, says: &[&[u8]]) -> Result<Found, Problem> {
        if key.is_empty() || key.len() > MAX_KEY || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            let message = format!("an Idempotency-Key has 1 to {MAX_KEY} visible ASCII characters");
            return Err(Problem::new(ErrorKind::Usage, "bad_idempotency_key", message));
        }
        self.sweep();
        let path = self.folder.join(hash(&[key.as_bytes()]));
        let kept = Kept { request: hash(says), at: now().0, daemon: self.daemon, answer: None };
        loop {
            match self.begin_or_read(&path, &kept).map_err(|error| not_kept(&error))? {
                Ok(()) => return Ok(Found::New(Begun { path, files: Arc::clone(&self.files), kept })),
                Err(Some(before)) if !before.is_old() => return self.again(before, &kept.request),
                Err(Some(_)) => self.forget_if_old(&path).map_err(|error| not_kept(&error))?,
                // Removed meanwhile.
                Err(None) => {}
            }
        }
    }

    /// Begins, or what is there of a request that came before.
    fn begin_or_read(&self, path: &Path, kept: &Kept) -> io::Result<Result<(), Option<Kept>>> {
        let _with_others = self.files.read().unwrap_or_else(PoisonError::into_inner);
        match begin(path, kept) {
            Ok(()) => Ok(Ok(())),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Err(read(path)?)),
            Err(error) => Err(error),
        }
    }

    fn forget_if_old(&self, path: &Path) -> io::Result<()> {
        let _alone = self.files.write().unwrap_or_else(PoisonError::into_inner);
        if read(path)?.is_some_and(|kept| kept.is_old()) { fs::remove_file(path) } else { Ok(()) }
    }

    fn again(&self, before: Kept, request: &str) -> Result<Found, Problem> {
        if before.request != request {
            let message = "another request came with this Idempotency-Key";
            return Err(Problem::new(ErrorKind::Refused, "key_used_otherwise", message)
                .hint("make up a new key for each request, and keep it for its repeats"));
        }
        match before.answer {
            Some(answer) => Ok(Found::Before(answer)),
            None if before.daemon == self.daemon => {
                let message = "the request with this Idempotency-Key is still under way";
                Err(Problem::new(ErrorKind::Refused, "still_under_way", message).hint("repeat it later"))
            }
            None => {
                let message = "the daemon ended while it did the request with this Idempotency-Key: it may be done or not";
                Err(Problem::new(ErrorKind::Refused, "outcome_unknown", message)
                    .hint("look what is there (lane ls, lane events), and take a new key"))
            }
        }
    }
}

impl Begun {
    /// Keeps its answer. Blocks.
    pub(crate) fn answered(mut self, answer: Answer) -> Result<(), Problem> {
        self.kept.answer = Some(answer);
        let _with_others = self.files.read().unwrap_or_else(PoisonError::into_inner);
        write_whole(&self.path, &json(&self.kept)).map_err(|error| not_kept(&error))
    }
}

impl Kept {
    fn is_old(&self) -> bool {
        // One from the future too: the clock was set back, and nobody knows how old it is.
        !(0..KEPT_FOR).contains(&(now().0.saturating_sub(self.at)))
    }
}

/// Notes that a request is being done. `AlreadyExists`: it was before.
fn begin(path: &Path, kept: &Kept) -> io::Result<()> {
    // Whole before it has its name, so that nobody reads half of it; a name is given once.
    let new = path.with_extension(format!("{:x}", crate::clock::any_number()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    let written =
        file.write_all(&json(kept)).and_then(|()| file.sync_all()).and_then(|()| fs::hard_link(&new, path));
    fs::remove_file(&new)?;
    written?;
    // What is done now must not be done again after a power failure.
    sync_folder_of(path)
}

fn read(path: &Path) -> io::Result<Option<Kept>> {
    let Some(content) = read_if_there(path)? else { return Ok(None) };
    serde_json::from_slice(&content)
        .map(Some)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn json(kept: &Kept) -> Vec<u8> {
    serde_json::to_vec(kept).expect("it is made of strings and numbers")
}

/// Of several texts, each with its length, so that no two lists of texts are alike.
fn hash(texts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    hexadecimal(&hash.finalize())
}

fn not_kept(error: &io::Error) -> Problem {
    let message = format!("the Idempotency-Key cannot be kept, and nothing was done: {error}");
    failed_in_words("key_not_kept", error, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(found: Result<Found, Problem>) -> Begun {
        match found {
            Ok(Found::New(begun)) => begun,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_repeat_gets_the_first_answer_also_from_the_next_daemon_and_for_a_day() {
        let folder = tempfile::tempdir().unwrap();
        let repeats = Repeats::open(folder.path().to_owned(), Timestamp(1));
        let begun = new(repeats.look("k", &[b"POST", b"/a"]));
        let code = |found: Result<Found, Problem>| found.unwrap_err().code;
        assert_eq!(code(repeats.look("k", &[b"POST", b"/a"])), "still_under_way");
        assert_eq!(code(repeats.look("k", &[b"POST/", b"a"])), "key_used_otherwise");
        let next = Repeats::open(folder.path().to_owned(), Timestamp(2));
        assert_eq!(code(next.look("k", &[b"POST", b"/a"])), "outcome_unknown");
        let answer = Answer { status: 201, content_type: None, body: OsText::from_bytes(&b"\xff{}"[..]) };
        begun.answered(answer.clone()).unwrap();
        for repeats in [&repeats, &next] {
            assert!(
                matches!(repeats.look("k", &[b"POST", b"/a"]), Ok(Found::Before(before)) if before == answer)
            );
        }
        // A day later it is another request.
        let path = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
        let mut kept = read(&path).unwrap().unwrap();
        kept.at -= KEPT_FOR;
        fs::write(&path, json(&kept)).unwrap();
        drop(new(next.look("k", &[b"POST", b"/b"])));
        fs::write(&path, json(&kept)).unwrap();
        fs::write(folder.path().join("half"), "{").unwrap();
        let _ = Repeats::open(folder.path().to_owned(), Timestamp(3));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        // A daemon that lives for long removes them too, in time.
        fs::write(&path, json(&kept)).unwrap();
        drop(new(next.look("other", &[])));
        assert!(path.exists(), "not at every key");
        next.swept_at.fetch_sub(SWEEP_EVERY, Ordering::Relaxed);
        drop(new(next.look("another", &[])));
        assert!(!path.exists());
    }

    #[test]
    fn a_key_that_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let repeats = Repeats::open(folder.path().to_owned(), Timestamp(1));
        for key in ["", "a b", "\u{e4}", "a\n", &"x".repeat(MAX_KEY + 1)] {
            assert_eq!(repeats.look(key, &[]).unwrap_err().code, "bad_idempotency_key");
        }
        drop(new(repeats.look("../../etc/passwd", &[])));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "a key is no path");
    }
}
