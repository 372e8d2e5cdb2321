//! What git's words on stderr mean. They are read in the C locale; what is not known stays `Other`.

/// The kinds of failure that callers tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Complaint {
    /// Not inside a repository.
    NotARepository,
    /// The repository belongs to somebody else and git will not trust it (`safe.directory`).
    ForeignOwner,
    /// A name that resolves to no commit.
    UnknownRevision,
    /// The branch is there already, or it appeared meanwhile.
    BranchExists,
    /// The branch is checked out, or being rebased or bisected, in another worktree.
    BranchInUse,
    /// A branch `a` makes `a/b` impossible, and the other way round.
    BranchBlocked,
    /// A ref did not have the value it was expected to have.
    RefMoved,
    /// The path of the worktree is there already or registered already.
    PathExists,
    /// Another git holds a lock file (index, configuration, a ref).
    Locked,
    /// Another git was just writing the entry of a worktree, or deleting a branch; asking again helps.
    InFlux,
    /// No space left on the device, or a quota.
    NoSpace,
    /// The operating system refused.
    PermissionDenied,
    /// The remote has no such branch.
    UnknownRemoteRef,
    /// The remote could not be reached, or did not let us in.
    RemoteUnreachable,
    /// A clean or smudge filter failed.
    FilterFailed,
    /// git does not know who makes the commit.
    NoIdentity,
    /// Anything else: see the words themselves.
    Other,
}

/// Ordered: an earlier line wins, because git often says a general thing after a particular one.
const KNOWN: &[(&str, Complaint)] = &[
    ("dubious ownership", Complaint::ForeignOwner),
    ("please tell me who you are", Complaint::NoIdentity),
    ("no space left on device", Complaint::NoSpace),
    ("disk quota exceeded", Complaint::NoSpace),
    ("out of diskspace", Complaint::NoSpace),
    ("couldn't find remote ref", Complaint::UnknownRemoteRef),
    ("could not read from remote", Complaint::RemoteUnreachable),
    ("could not read username", Complaint::RemoteUnreachable),
    ("could not read password", Complaint::RemoteUnreachable),
    ("authentication failed", Complaint::RemoteUnreachable),
    ("unable to access 'http", Complaint::RemoteUnreachable),
    ("could not resolve host", Complaint::RemoteUnreachable),
    ("does not appear to be a git repository", Complaint::RemoteUnreachable),
    ("smudge filter", Complaint::FilterFailed),
    ("clean filter", Complaint::FilterFailed),
    ("external filter", Complaint::FilterFailed),
    ("is already checked out at", Complaint::BranchInUse),
    ("is already used by worktree at", Complaint::BranchInUse),
    ("cannot force update the branch", Complaint::BranchInUse),
    ("reference already exists", Complaint::BranchExists),
    ("; cannot create 'refs/", Complaint::BranchBlocked),
    ("there are still refs under", Complaint::BranchBlocked),
    ("but expected", Complaint::RefMoved),
    ("unable to resolve reference", Complaint::RefMoved),
    ("with nonexistent object", Complaint::UnknownRevision),
    ("with non-commit object", Complaint::UnknownRevision),
    ("missing but already registered worktree", Complaint::PathExists),
    ("missing but locked worktree", Complaint::PathExists),
    ("already exists", Complaint::PathExists),
    ("permission denied", Complaint::PermissionDenied),
    ("read-only file system", Complaint::PermissionDenied),
    ("commondir", Complaint::InFlux),
    ("/worktrees/", Complaint::InFlux),
    // Of a worktree that is just being added, while a person's prune or gc looks through all of them.
    ("couldn't set 'head'", Complaint::InFlux),
    ("could not lock config file", Complaint::Locked),
    (".lock': file exists", Complaint::Locked),
    ("another git process seems to be running", Complaint::Locked),
    ("invalid reference", Complaint::UnknownRevision),
    ("unknown revision", Complaint::UnknownRevision),
    ("bad revision", Complaint::UnknownRevision),
    ("bad object", Complaint::InFlux),
    ("needed a single revision", Complaint::UnknownRevision),
    ("not a git repository", Complaint::NotARepository),
];

pub(crate) fn classify(stderr: &str) -> Complaint {
    let said = stderr.to_ascii_lowercase();
    KNOWN.iter().find(|(words, _)| said.contains(words)).map_or(Complaint::Other, |(_, meaning)| *meaning)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gits_own_words_are_told_apart() {
        for (said, expected) in [
            (
                "fatal: update_ref failed for ref 'refs/heads/a': cannot lock ref 'refs/heads/a': reference already exists",
                Complaint::BranchExists,
            ),
            (
                "fatal: cannot lock ref 'refs/heads/lane/x': 'refs/heads/lane' exists; cannot create 'refs/heads/lane/x'",
                Complaint::BranchBlocked,
            ),
            ("fatal: cannot lock ref 'refs/heads/a': is at 1 but expected 2", Complaint::RefMoved),
            ("fatal: 'a' is already checked out at '/w'", Complaint::BranchInUse),
            ("fatal: 'a' is already used by worktree at '/w'", Complaint::BranchInUse),
            ("fatal: '/w' already exists", Complaint::PathExists),
            ("error: could not lock config file .git/config: File exists", Complaint::Locked),
            ("fatal: failed to read .git/worktrees/a/commondir: Success", Complaint::InFlux),
            ("fatal: bad object lane/x", Complaint::InFlux),
            ("error: couldn't set 'HEAD'", Complaint::InFlux),
            ("error: external filter 'false' failed 1", Complaint::FilterFailed),
            (
                "fatal: not a git repository (or any of the parent directories): .git",
                Complaint::NotARepository,
            ),
            ("error: unable to write file f: No space left on device", Complaint::NoSpace),
            ("fatal: sha1 file 'index.lock' write error. Out of diskspace", Complaint::NoSpace),
            (
                "Author identity unknown\n\n*** Please tell me who you are.\n\nRun\n\n  git config --global user.email \"…\"",
                Complaint::NoIdentity,
            ),
            ("fatal: something new", Complaint::Other),
        ] {
            assert_eq!(classify(said), expected, "{said}");
        }
    }
}
