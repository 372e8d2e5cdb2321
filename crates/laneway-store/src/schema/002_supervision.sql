-- What lanes and workers remember of supervision, sharing and setup; the trees of the pool.

-- Who asked for the close.
ALTER TABLE lanes ADD COLUMN close_by TEXT;

-- How far its setup is, what it was begun with, and the task of the step that is being done.
ALTER TABLE lanes ADD COLUMN setup TEXT NOT NULL DEFAULT 'none'
    CHECK (setup IN ('none', 'waiting', 'running', 'failed', 'done'));
ALTER TABLE lanes ADD COLUMN setup_content TEXT NOT NULL DEFAULT '';
ALTER TABLE lanes ADD COLUMN setup_done INTEGER NOT NULL DEFAULT 0;
ALTER TABLE lanes ADD COLUMN setup_all INTEGER NOT NULL DEFAULT 0;
ALTER TABLE lanes ADD COLUMN setup_worker TEXT;

ALTER TABLE workers ADD COLUMN restart TEXT NOT NULL DEFAULT 'never'
    CHECK (restart IN ('never', 'on-failure', 'always'));
-- A JSON list of numbers.
ALTER TABLE workers ADD COLUMN done_codes TEXT NOT NULL DEFAULT '[]';
-- What supervision remembers: its epoch, the restarts that count, when it failed (a JSON list), and either when the
-- next run begins or why it is given up.
ALTER TABLE workers ADD COLUMN supervision_epoch INTEGER NOT NULL DEFAULT 0;
ALTER TABLE workers ADD COLUMN n_restarts INTEGER NOT NULL DEFAULT 0;
ALTER TABLE workers ADD COLUMN failed_at TEXT NOT NULL DEFAULT '[]';
ALTER TABLE workers ADD COLUMN retry_at INTEGER;
ALTER TABLE workers ADD COLUMN given_up TEXT CHECK (given_up IS NULL OR retry_at IS NULL);

-- Who uses a lane, by leases. A row goes when its lease ends: the events tell of it.
CREATE TABLE attachments (
    id         TEXT    NOT NULL PRIMARY KEY,
    lane       TEXT    NOT NULL REFERENCES lanes (id),
    who        TEXT    NOT NULL,
    role       TEXT    NOT NULL CHECK (role IN ('driver', 'observer')),
    joined_at  INTEGER NOT NULL,
    renewed_at INTEGER NOT NULL,
    until      INTEGER NOT NULL,
    UNIQUE (lane, who)
) STRICT, WITHOUT ROWID;

CREATE INDEX attachments_until ON attachments (until);

-- Trees that are kept ready for lanes to come. A row is there before its tree is, and goes after it.
CREATE TABLE pool_trees (
    id          TEXT    NOT NULL PRIMARY KEY,
    workspace   TEXT    NOT NULL REFERENCES workspaces (id),
    path        BLOB    NOT NULL,
    base_commit TEXT    NOT NULL,
    state       TEXT    NOT NULL CHECK (state IN ('making', 'ready', 'claimed', 'going')),
    -- the lane that is to have it, or was to
    lane        TEXT    REFERENCES lanes (id),
    created_at  INTEGER NOT NULL,
    CHECK (state <> 'claimed' OR lane IS NOT NULL)
) STRICT, WITHOUT ROWID;

CREATE INDEX pool_trees_workspace ON pool_trees (workspace, id);
