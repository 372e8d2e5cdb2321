//! Files of the main worktree that a lane needs and git does not have: copied into its tree, or linked.
//!
//! Nothing is followed out of the one or the other, and nothing that is in the tree already is written over. What was
//! carried is noted in git's administrative folder of the tree, so that an unchanged copy is not taken for work.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, Mode, OFlags, RenameFlags, ResolveFlags, mkdirat, openat, openat2, readlinkat, renameat_with,
    statat, symlinkat, unlinkat,
};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use crate::admin::{AdminFolder, present};
use crate::repository::{Repository, not_read};
use crate::run::RunError;

/// The note, in the administrative folder: `KIND HASH PATH`, each ended by a NUL.
const NOTE: &str = "laneway-carried";

/// What a copy is called until it is whole; one that a crash has left is written over.
const UNFINISHED: &str = ".laneway-carrying";

/// The folder of lanes, which nothing is carried from.
const LANES: &str = ".lanes";

/// What is to be carried into a tree.
#[derive(Clone, Copy, Debug)]
pub struct ToCarry<'a> {
    /// The lane's tree.
    pub tree: &'a Path,
    /// Patterns, as git's pathspecs have them, of untracked files that are copied.
    pub copy: &'a [String],
    /// Paths that are linked to.
    pub link: &'a [String],
}

/// Why not all was carried. What was carried until then is there, and is passed by the next time.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CarryError {
    /// A symbolic link leads out of the repository or out of the tree, or into git's own files.
    #[error("{} leads elsewhere, by a symbolic link or by its name", path.display())]
    LeadsOut {
        /// The path, relative to both.
        path: PathBuf,
    },
    /// Only files are copied.
    #[error("{} is no file, and only files are copied", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// There is no worktree of this repository.
    #[error("there is no worktree at {}", path.display())]
    NoTree {
        /// The path.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error("{} could not be carried", path.display())]
    File {
        /// The path.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// git failed.
    #[error("what there is to copy could not be found out")]
    Git(#[from] RunError),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Copy,
    Link,
}

/// What was carried, by path: its kind, and the hash of the content or of the link's target.
type Note = BTreeMap<PathBuf, (Kind, String)>;

impl Repository {
    /// Copies and links. Doing it again carries what is not there yet.
    pub fn carry(&self, asked: &ToCarry<'_>) -> Result<(), CarryError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| CarryError::File { path, source }
        };
        let no_tree = || CarryError::NoTree { path: asked.tree.to_owned() };
        let admin = self.registered_at(asked.tree).map_err(not_read)?.ok_or_else(no_tree)?;
        if !admin.is_led_to_by(asked.tree) {
            return Err(no_tree());
        }
        let to_copy = self.untracked_files(asked)?;
        let open = |path: &Path| folder(path).map_err(|errno| at(path)(errno.into()));
        let (root, tree) = (open(self.root())?, open(asked.tree)?);
        let mut note = read_note(&admin).map_err(at(&admin.folder))?;
        let carried = || -> Result<(), CarryError> {
            for path in to_copy {
                if let Some(hash) = copy(&root, &tree, &path)? {
                    note.insert(path, (Kind::Copy, hash));
                }
            }
            for path in asked.link.iter().map(PathBuf::from) {
                if let Some(hash) = link(self.root(), &root, &tree, &path)? {
                    note.insert(path, (Kind::Link, hash));
                }
            }
            Ok(())
        }();
        write_note(&admin, &note).map_err(at(&admin.folder))?;
        carried
    }

    /// The untracked files of the main worktree that fit, ignored or not; none in a bare repository, nor of lanes.
    fn untracked_files(&self, asked: &ToCarry<'_>) -> Result<Vec<PathBuf>, CarryError> {
        if self.is_bare() || asked.copy.is_empty() {
            return Ok(Vec::new());
        }
        let holder = asked.tree.parent().and_then(|parent| parent.strip_prefix(self.root()).ok());
        let patterns = asked.copy.iter().map(|pattern| format!(":(top,glob){pattern}"));
        let (mut found, mut repository) = (Vec::new(), None);
        self.run("git ls-files")
            .reads()
            .args(["ls-files", "--others", "-z", "--"])
            .args(patterns)
            .each_record(0, &mut |record| {
                let path = PathBuf::from(OsStr::from_bytes(record));
                if path.starts_with(LANES) || holder.is_some_and(|holder| path.starts_with(holder)) {
                    return;
                }
                if record.ends_with(b"/") {
                    repository.get_or_insert(path);
                } else {
                    found.push(path);
                }
            })?
            .or_failed()?;
        repository.map_or(Ok(found), |path| Err(CarryError::NotAFile { path }))
    }
}

/// Paths in a tree that are as they were carried: what is in them is held by the main worktree, or was.
pub(crate) fn unchanged(admin: &AdminFolder, tree: &Path) -> io::Result<HashSet<PathBuf>> {
    let note = read_note(admin)?;
    if note.is_empty() {
        return Ok(HashSet::new());
    }
    let Some(tree) = present(folder(tree).map_err(Into::into))? else { return Ok(HashSet::new()) };
    let is_as_it_was = |path: &PathBuf, kind: Kind, hash: &str| {
        let (into, name) = into_folder(&tree, path, false).ok()??;
        let now = match kind {
            Kind::Copy => hash_of(&mut open_file(&into, &name)?, &mut io::sink()).ok()?,
            Kind::Link => hash_of_bytes(readlinkat(&into, name.as_os_str(), Vec::new()).ok()?.as_bytes()),
        };
        (now == hash).then_some(())
    };
    let kept = note.into_iter().filter(|(path, (kind, hash))| is_as_it_was(path, *kind, hash).is_some());
    Ok(kept.map(|(path, _)| path).collect())
}

/// A folder by its path.
fn folder(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// A file in a folder that is no symbolic link.
fn open_file(folder: &OwnedFd, name: &OsStr) -> Option<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(openat(folder, name, flags, Mode::empty()).ok()?);
    file.metadata().is_ok_and(|facts| facts.is_file()).then_some(file)
}

/// The folder that a path of the tree is in, made if `make`, and the path's last part. No symbolic link is followed;
/// none: it is not there.
fn into_folder(
    tree: &OwnedFd,
    path: &Path,
    make: bool,
) -> Result<Option<(OwnedFd, std::ffi::OsString)>, CarryError> {
    let at = |errno: Errno| CarryError::File { path: path.to_owned(), source: errno.into() };
    let leads_out = || CarryError::LeadsOut { path: path.to_owned() };
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) if !name.eq_ignore_ascii_case(".git") => parts.push(name),
            _ => return Err(leads_out()),
        }
    }
    let name = parts.pop().ok_or_else(leads_out)?;
    let mut folder = tree.try_clone().map_err(|source| CarryError::File { path: path.to_owned(), source })?;
    for part in parts {
        if make {
            match mkdirat(&folder, part, Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(at(errno)),
            }
        }
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
        folder = match openat(&folder, part, flags, Mode::empty()) {
            Ok(folder) => folder,
            Err(Errno::NOENT) if !make => return Ok(None),
            Err(Errno::LOOP | Errno::NOTDIR) => return Err(leads_out()),
            Err(errno) => return Err(at(errno)),
        };
    }
    Ok(Some((folder, name.to_owned())))
}

/// Copies one file; gives its hash if the tree has it now as it is in the main worktree.
fn copy(root: &OwnedFd, tree: &OwnedFd, path: &Path) -> Result<Option<String>, CarryError> {
    let at = |source| CarryError::File { path: path.to_owned(), source };
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let mut from = match openat2(root, path, flags, Mode::empty(), resolve) {
        Ok(file) => File::from(file),
        Err(Errno::XDEV | Errno::LOOP) => return Err(CarryError::LeadsOut { path: path.to_owned() }),
        Err(errno) => return Err(at(errno.into())),
    };
    let facts = from.metadata().map_err(at)?;
    if !facts.is_file() {
        return Err(CarryError::NotAFile { path: path.to_owned() });
    }
    let leads_out = || CarryError::LeadsOut { path: path.to_owned() };
    let (into, name) = into_folder(tree, path, true)?.ok_or_else(leads_out)?;
    if statat(&into, name.as_os_str(), AtFlags::SYMLINK_NOFOLLOW).is_ok() {
        // It has one of its own, or was given this one before.
        let there = open_file(&into, &name).and_then(|mut file| hash_of(&mut file, &mut io::sink()).ok());
        let here = hash_of(&mut from, &mut io::sink()).map_err(at)?;
        return Ok((there.as_ref() == Some(&here)).then_some(here));
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let unfinished =
        openat(&into, UNFINISHED, flags, Mode::RUSR | Mode::WUSR).map_err(|errno| at(errno.into()))?;
    let mut unfinished = File::from(unfinished);
    let copied = hash_of(&mut from, &mut unfinished).and_then(|hash| {
        unfinished.set_permissions(std::fs::Permissions::from_mode(facts.permissions().mode() & 0o777))?;
        match renameat_with(&into, UNFINISHED, &into, name.as_os_str(), RenameFlags::NOREPLACE) {
            Ok(()) => Ok(Some(hash)),
            Err(Errno::EXIST) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    });
    if !matches!(copied, Ok(Some(_))) {
        // Half of it is of no use to anybody.
        let _ = unlinkat(&into, UNFINISHED, AtFlags::empty());
    }
    copied.map_err(at)
}

/// Links to one path; gives the hash of the target if the tree has the link now. What the main worktree has not is
/// passed by.
fn link(root_path: &Path, root: &OwnedFd, tree: &OwnedFd, path: &Path) -> Result<Option<String>, CarryError> {
    let at = |errno: Errno| CarryError::File { path: path.to_owned(), source: errno.into() };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    match openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve) {
        Ok(_) => {}
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::XDEV | Errno::LOOP) => return Err(CarryError::LeadsOut { path: path.to_owned() }),
        Err(errno) => return Err(at(errno)),
    }
    let leads_out = || CarryError::LeadsOut { path: path.to_owned() };
    let (into, name) = into_folder(tree, path, true)?.ok_or_else(leads_out)?;
    let target = root_path.join(path);
    match symlinkat(&target, &into, name.as_os_str()) {
        Ok(()) => {}
        Err(Errno::EXIST) => {
            let there = readlinkat(&into, name.as_os_str(), Vec::new());
            if there.map_or(true, |there| there.as_bytes() != target.as_os_str().as_bytes()) {
                return Ok(None);
            }
        }
        Err(errno) => return Err(at(errno)),
    }
    Ok(Some(hash_of_bytes(target.as_os_str().as_bytes())))
}

/// Reads to the end, passes on what was read, and gives the hash of it.
fn hash_of(from: &mut File, to: &mut impl Write) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(hex(&hash.finalize())),
            Ok(n) => {
                hash.update(&buffer[..n]);
                to.write_all(&buffer[..n])?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The SHA-256 of some bytes, in hexadecimal digits.
pub fn hash_of_bytes(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    let digit = |bits: u8| char::from_digit(u32::from(bits), 16).expect("four bits are a digit");
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn read_note(admin: &AdminFolder) -> io::Result<Note> {
    let said = present(std::fs::read(admin.folder.join(NOTE)))?.unwrap_or_default();
    let entries = said.split(|byte| *byte == 0).filter_map(|entry| {
        let mut parts = entry.splitn(3, |byte| *byte == b' ');
        let kind = match parts.next()? {
            b"copy" => Kind::Copy,
            b"link" => Kind::Link,
            _ => return None,
        };
        let hash = String::from_utf8(parts.next()?.to_vec()).ok()?;
        Some((PathBuf::from(OsStr::from_bytes(parts.next()?)), (kind, hash)))
    });
    Ok(entries.collect())
}

/// Whole or not at all.
fn write_note(admin: &AdminFolder, note: &Note) -> io::Result<()> {
    if note.is_empty() {
        return Ok(());
    }
    let mut text = Vec::new();
    for (path, (kind, hash)) in note {
        let kind = if *kind == Kind::Copy { "copy" } else { "link" };
        text.extend_from_slice(format!("{kind} {hash} ").as_bytes());
        text.extend_from_slice(path.as_os_str().as_bytes());
        text.push(0);
    }
    let new = admin.folder.join(NOTE).with_extension("new");
    std::fs::write(&new, text)?;
    std::fs::rename(new, admin.folder.join(NOTE))
}
