-- Which host this database belongs to, and how it was left.
CREATE TABLE meta (
    only_row      INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    host          TEXT    NOT NULL REFERENCES hosts (id),
    ended_cleanly INTEGER NOT NULL CHECK (ended_cleanly IN (0, 1))
) STRICT;

-- The hosts that events are kept of, each with the number of its last one: neither AUTOINCREMENT
-- (it leaves gaps) nor max + 1 (it starts again once the old ones are deleted) would do.
CREATE TABLE hosts (
    id       TEXT    NOT NULL PRIMARY KEY,
    last_seq INTEGER NOT NULL CHECK (last_seq >= 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE workspaces (
    id          TEXT    NOT NULL PRIMARY KEY,
    host        TEXT    NOT NULL REFERENCES hosts (id),
    common_dir  BLOB    NOT NULL,
    root        BLOB    NOT NULL,
    remote_url  TEXT,
    root_commit TEXT,
    created_at  INTEGER NOT NULL,
    UNIQUE (host, common_dir)
) STRICT, WITHOUT ROWID;

CREATE TABLE lanes (
    id              TEXT    NOT NULL PRIMARY KEY,
    host            TEXT    NOT NULL REFERENCES hosts (id),
    workspace       TEXT    NOT NULL REFERENCES workspaces (id),
    epoch           INTEGER NOT NULL,
    name            TEXT    NOT NULL,
    lifecycle       TEXT    NOT NULL
                    CHECK (lifecycle IN ('new', 'provisioning', 'open', 'cleaning', 'closed')),
    close_requested INTEGER NOT NULL CHECK (close_requested IN (0, 1)),
    failure         TEXT,
    -- '': an adopted worktree whose HEAD was detached
    branch          TEXT    NOT NULL,
    branch_ours     INTEGER NOT NULL CHECK (branch_ours IN (0, 1)),
    -- its worktree is somebody's own, and the lane only uses it
    adopted         INTEGER NOT NULL CHECK (adopted IN (0, 1)),
    base_ref        TEXT    NOT NULL,
    base_commit     TEXT    NOT NULL,
    path            BLOB    NOT NULL,
    shared          INTEGER NOT NULL CHECK (shared IN (0, 1)),
    created_at      INTEGER NOT NULL,
    closed_at       INTEGER,
    -- how its close was asked for, so that one that was under way goes on like that
    close_discard     INTEGER NOT NULL CHECK (close_discard IN (0, 1)),
    close_merge       INTEGER NOT NULL CHECK (close_merge IN (0, 1)),
    close_keep_branch INTEGER NOT NULL CHECK (close_keep_branch IN (0, 1)),
    -- the closed lane that it brings back
    restored_from   TEXT    REFERENCES lanes (id),
    CHECK ((lifecycle = 'closed') = (closed_at IS NOT NULL))
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX lanes_unclosed_name ON lanes (workspace, name) WHERE lifecycle <> 'closed';
CREATE UNIQUE INDEX lanes_unclosed_path ON lanes (workspace, path) WHERE lifecycle <> 'closed';
-- Closed lanes become many and are rarely asked for: what goes on does not read them.
CREATE INDEX lanes_unclosed ON lanes (workspace, id) WHERE lifecycle <> 'closed';
CREATE INDEX lanes_workspace ON lanes (workspace, id);

CREATE TABLE workers (
    id         TEXT    NOT NULL PRIMARY KEY,
    workspace  TEXT    NOT NULL REFERENCES workspaces (id),
    lane       TEXT    NOT NULL REFERENCES lanes (id),
    name       TEXT,
    desired    TEXT    NOT NULL CHECK (desired IN ('running', 'stopped')),
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX workers_lane ON workers (lane);
CREATE INDEX workers_named ON workers (lane, name) WHERE name IS NOT NULL;
CREATE INDEX workers_workspace ON workers (workspace);

CREATE TABLE specs (
    worker           TEXT    NOT NULL REFERENCES workers (id),
    number           INTEGER NOT NULL CHECK (number >= 1),
    argv             TEXT    NOT NULL,
    cwd              BLOB    NOT NULL,
    environment      TEXT    NOT NULL,
    terminal         TEXT    NOT NULL CHECK (terminal IN ('pty', 'pipes')),
    terminal_columns INTEGER,
    terminal_rows    INTEGER,
    record           INTEGER NOT NULL CHECK (record IN (0, 1)),
    PRIMARY KEY (worker, number),
    CHECK ((terminal = 'pty') = (terminal_columns IS NOT NULL)),
    CHECK ((terminal = 'pty') = (terminal_rows IS NOT NULL))
) STRICT, WITHOUT ROWID;

-- The lane is repeated here so that the live runs of a lane are found without its ended tasks.
CREATE TABLE runs (
    id          TEXT    NOT NULL PRIMARY KEY,
    worker      TEXT    NOT NULL REFERENCES workers (id),
    lane        TEXT    NOT NULL REFERENCES lanes (id),
    number      INTEGER NOT NULL CHECK (number >= 1),
    spec        INTEGER NOT NULL,
    state       TEXT    NOT NULL CHECK (state IN ('starting', 'running', 'stopping', 'exited')),
    pid         INTEGER,
    start_time  INTEGER,
    boot_id     TEXT,
    exit_kind   TEXT    CHECK (exit_kind IN ('code', 'signal', 'lost', 'not_started')),
    exit_code   INTEGER,
    exit_signal INTEGER,
    exit_reason TEXT,
    created_at  INTEGER NOT NULL,
    started_at  INTEGER,
    ended_at    INTEGER,
    UNIQUE (worker, number),
    FOREIGN KEY (worker, spec) REFERENCES specs (worker, number),
    CHECK ((state = 'exited') = (exit_kind IS NOT NULL)),
    CHECK ((pid IS NULL) = (start_time IS NULL) AND (pid IS NULL) = (boot_id IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX runs_live ON runs (lane, worker) WHERE state <> 'exited';
CREATE INDEX runs_spec ON runs (worker, spec);

-- No foreign keys: an event outlives what it tells of.
CREATE TABLE events (
    host        TEXT    NOT NULL,
    seq         INTEGER NOT NULL CHECK (seq >= 1),
    at          INTEGER NOT NULL,
    name        TEXT    NOT NULL,
    data        TEXT    NOT NULL,
    workspace   TEXT,
    lane        TEXT,
    worker      TEXT,
    run         TEXT,
    correlation TEXT    NOT NULL,
    actor       TEXT    NOT NULL,
    PRIMARY KEY (host, seq)
) STRICT, WITHOUT ROWID;
