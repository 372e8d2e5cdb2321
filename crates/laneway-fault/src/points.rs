//! The list of all points.

/// Every point, by the area that it is in.
pub const POINTS: &[&str] = &[
    // a decision: about to be made durable; durable, and nobody told yet, no effect begun
    "store.before-commit",
    "store.committed",
    // making a tree
    "create.branch-made",
    "create.parent-made",
    "create.folder-made",
    "create.entered",
    "create.checked-out",
    "create.followed",
    "create.hook-run",
    // setting a lane up
    "setup.carried",
    "setup.step-started",
    "setup.step-ended",
    // taking a tree back that was not made whole
    "undo.tree-aside",
    "undo.entry-removed",
    "undo.tree-deleted",
    "undo.branch-deleted",
    // starting a program, and what follows its end
    "run.environment-kept",
    "run.holder-spawned",
    "run.program-started",
    "run.watched",
    "run.former-ended",
    "run.exit-told",
    "run.released",
    "run.folder-removed",
    // in tmux: a window was made, or a pane used again; that is recorded; a pane was added beside; one was removed
    "pane.opened",
    "pane.recorded",
    "pane.added",
    "pane.removed",
    // a restart: recorded as planned, and nobody waits for its moment yet; that has come, and nobody was told yet
    "restart.planned",
    "restart.due",
    // what a program has said over its channel: told by its holder; recorded, and kept there still; forgotten there
    "channel.told",
    "channel.recorded",
    "channel.forgotten",
    // a request with a key: begun, done, its answer kept
    "repeat.begun",
    "repeat.done",
    "repeat.kept",
    // a token: made, and nobody was told; kept no more, and its bearer not turned away yet
    "token.kept",
    "token.dropped",
    // listening at a port: bound, kept for the next daemon, not kept any more
    "serve.bound",
    "serve.kept",
    "serve.dropped",
    // a small file that is replaced: written under another name
    "file.written",
    // the folder of a run that is not kept any longer
    "retention.folder-deleted",
    // a lease that is over
    "lease.looked-at",
    // what was found by comparing
    "doctor.repaired",
    // in the holder
    "holder.asked",
    "holder.socket-made",
    "holder.record-made",
    "holder.program-executed",
    "holder.start-recorded",
    "holder.channel-read",
    "holder.channel-written",
    "holder.farewell-said",
    "holder.exit-seen",
    "holder.exit-recorded",
    "holder.leaving",
    "holder.socket-removed",
    // ending a program
    "stop.asking",
    "stop.done",
    // closing: ended, looked at
    "close.quieted",
    "close.judged",
    "close.recorded",
    // taking a clean tree away
    "remove.place-made",
    "remove.aside",
    "remove.looked-again",
    "remove.named-held",
    "remove.named-held-without-tree",
    "remove.kept-no-longer",
    "remove.entry-removed",
    "remove.branch-deleted",
    // merging
    "merge.committed",
    "merge.moved",
    // taking a tree away with what is in it
    "rescue.place-made",
    "rescue.aside",
    "rescue.content-kept",
    "rescue.admin-copied",
    "rescue.refs-set",
    "rescue.modules-moved",
    "rescue.synced",
    "rescue.entry-removed",
    "rescue.branch-deleted",
    "rescue.disposable-dropped",
    // deleting what is in the trash
    "trash.renamed",
    "trash.deleted",
    "prune.tree-deleted",
    "prune.refs-deleted",
    // bringing it back
    "restore.goal-written",
    "restore.branch-made",
    "restore.entered",
    "restore.tree-linked",
    "restore.tree-back",
    "restore.modules-back",
    "restore.head-settled",
    "restore.made-from-refs",
    "restore.files-written",
    "restore.recorded",
    "restore.place-left",
    // the warm pool: making a tree, giving it to a lane (`label.written` is a step of that), removing it
    "pool.entered",
    "pool.checked-out",
    "pool.settled",
    "claim.branch-made",
    "claim.marked",
    "claim.moved",
    "claim.head-set",
    "claim.unmarked",
    "claim.hook-run",
    "pool.tree-aside",
    "pool.entry-removed",
    "pool.tree-deleted",
    // another name
    "label.written",
    // a daemon's start
    "start.locked",
    "start.opened",
    "start.looked",
    "start.leftovers-ended",
    "start.acted",
    "start.restarts-planned",
    "start.trash-finished",
    "start.environments-forgotten",
    "start.panes-looked-after",
    "start.reconciled",
    "start.listening",
];
