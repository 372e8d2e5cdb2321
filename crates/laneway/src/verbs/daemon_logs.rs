//! `lane daemon logs`: what the daemon has written, and what it writes. It needs no daemon.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use laneway_api::error::{ErrorKind, exit_code};
use laneway_core::os_text::OsText;
use laneway_daemon::home::Home;
use rustix::event::{PollFd, PollFlags};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use serde::Serialize;

use crate::context::{Context, Outcome};
use crate::failure::Failure;

/// Print the daemon's log
#[derive(Debug, clap::Args)]
#[command(after_help = "EXAMPLES:\n  lane daemon logs\n  lane daemon logs --follow")]
pub(crate) struct LogsArgs {
    /// Go on with what is written
    #[arg(long)]
    follow: bool,
}

/// `lane daemon logs --json`.
#[derive(Serialize)]
struct Logs {
    path: OsText,
    lines: Vec<String>,
}

/// A line of `lane daemon logs --follow --json`.
#[derive(Serialize)]
struct Line<'a> {
    line: &'a str,
}

pub(super) fn run(args: &LogsArgs, context: &Context) -> Outcome {
    let home = context.home()?;
    if args.follow {
        follow(&home, context)?;
        return Ok(exit_code::OK);
    }
    let path = home.log();
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let message = format!("there is no log at {}: no daemon has run there", OsText::from(path));
            return Err(Failure::new(ErrorKind::NotFound, "no_log", message));
        }
        Err(error) => return Err(unreadable(&path, &error)),
    };
    if context.json() {
        let lines = String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect();
        context.printer.json(&Logs { path: path.into(), lines })?;
    } else {
        context.printer.bytes(&bytes)?;
    }
    Ok(exit_code::OK)
}

/// Prints what is there and what comes, also when the file is replaced. Ends when nobody reads any more.
fn follow(home: &Home, context: &Context) -> Result<(), Failure> {
    let path = home.log();
    let changes = changes_in(home.root()).map_err(|errno| unreadable(home.root(), &errno.into()))?;
    let mut tail = Tail { path: path.clone(), open: None };
    let mut partial = Vec::new();
    loop {
        watch(&changes, &path).map_err(|errno| unreadable(&path, &errno.into()))?;
        let news = tail.news().map_err(|error| unreadable(&path, &error))?;
        if context.json() {
            partial.extend_from_slice(&news);
            while let Some(end) = partial.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = partial.drain(..=end).collect();
                context.printer.json(&Line { line: &String::from_utf8_lossy(&line[..end]) })?;
            }
        } else if !news.is_empty() {
            context.printer.bytes(&news)?;
        }
        if !wait(&changes).map_err(|errno| unreadable(&path, &errno.into()))? {
            return Ok(());
        }
    }
}

/// Tells of files that appear in the folder.
fn changes_in(folder: &Path) -> Result<OwnedFd, Errno> {
    let changes = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    inotify::add_watch(&changes, folder, WatchFlags::CREATE | WatchFlags::MOVED_TO)?;
    Ok(changes)
}

/// Tells also of what is written to the file, if it is there; a file is watched once.
fn watch(changes: &OwnedFd, path: &Path) -> Result<(), Errno> {
    match inotify::add_watch(changes, path, WatchFlags::MODIFY) {
        Ok(_) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Waits for a change; false if nobody reads standard output any more.
fn wait(changes: &OwnedFd) -> Result<bool, Errno> {
    let stdout = io::stdout();
    let mut watched = [PollFd::new(changes, PollFlags::IN), PollFd::new(&stdout, PollFlags::empty())];
    match rustix::event::poll(&mut watched, None) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => return Err(errno),
    }
    let reads = !watched[1].revents().intersects(PollFlags::ERR | PollFlags::HUP);
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut changes = inotify::Reader::new(changes, &mut buffer);
    loop {
        match changes.next() {
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(reads),
            Err(errno) => return Err(errno),
        }
    }
}

/// A file that grows and may be replaced by another of its name.
struct Tail {
    path: PathBuf,
    open: Option<File>,
}

impl Tail {
    /// What has been written since the last time.
    fn news(&mut self) -> io::Result<Vec<u8>> {
        let mut news = Vec::new();
        if let Some(file) = &mut self.open {
            let length = file.metadata()?.len();
            if length < file.stream_position()? {
                file.seek(SeekFrom::Start(0))?;
            }
            file.read_to_end(&mut news)?;
        }
        let named = match File::open(&self.path) {
            Ok(named) => named,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(news),
            Err(error) => return Err(error),
        };
        let is_same = match &self.open {
            Some(file) => identity(file)? == identity(&named)?,
            None => false,
        };
        if !is_same {
            self.open.insert(named).read_to_end(&mut news)?;
        }
        Ok(news)
    }
}

fn identity(file: &File) -> io::Result<(u64, u64)> {
    let metadata = file.metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(ErrorKind::Failed, "log_unreadable", format!("cannot read {}: {error}", OsText::from(path)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_log_that_grows_is_cut_or_is_replaced_is_followed_without_loss() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut tail = Tail { path: path.clone(), open: None };
        assert_eq!(tail.news().unwrap(), b"");
        let mut file = File::create(&path).unwrap();
        file.write_all(b"one\n").unwrap();
        assert_eq!(tail.news().unwrap(), b"one\n");
        file.write_all(b"two\n").unwrap();
        assert_eq!(tail.news().unwrap(), b"two\n");
        assert_eq!(tail.news().unwrap(), b"");
        file.write_all(b"last\n").unwrap();
        std::fs::rename(&path, folder.path().join("log.1")).unwrap();
        std::fs::write(&path, "new\n").unwrap();
        assert_eq!(tail.news().unwrap(), b"last\nnew\n");
        std::fs::write(&path, "").unwrap();
        assert_eq!(tail.news().unwrap(), b"");
        std::fs::write(&path, "x\n").unwrap();
        assert_eq!(tail.news().unwrap(), b"x\n");
    }

    #[test]
    fn a_change_of_the_log_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, "").unwrap();
        let changes = changes_in(folder.path()).unwrap();
        watch(&changes, &path).unwrap();
        std::fs::write(&path, "x").unwrap();
        let limit = std::time::Duration::from_secs(10).try_into().unwrap();
        let n_ready = rustix::event::poll(&mut [PollFd::new(&changes, PollFlags::IN)], Some(&limit)).unwrap();
        assert_eq!(n_ready, 1);
    }
}
