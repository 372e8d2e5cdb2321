-- Terminals in panes of tmux. What a table allows cannot be changed in place: such tables are made anew, while foreign
-- keys are not looked at; they are before this step is committed.

CREATE TABLE specs_new (
    worker           TEXT    NOT NULL REFERENCES workers (id),
    number           INTEGER NOT NULL CHECK (number >= 1),
    argv             TEXT    NOT NULL,
    cwd              BLOB    NOT NULL,
    environment      TEXT    NOT NULL,
    terminal         TEXT    NOT NULL CHECK (terminal IN ('pty', 'pipes', 'tmux')),
    terminal_columns INTEGER,
    terminal_rows    INTEGER,
    record           INTEGER NOT NULL CHECK (record IN (0, 1)),
    -- tmux: the server's socket, and the session that was asked for, if one was
    tmux_socket      BLOB,
    tmux_session     TEXT,
    PRIMARY KEY (worker, number),
    CHECK ((terminal = 'pty') = (terminal_columns IS NOT NULL)),
    CHECK ((terminal = 'pty') = (terminal_rows IS NOT NULL)),
    CHECK ((terminal = 'tmux') = (tmux_socket IS NOT NULL)),
    CHECK (terminal = 'tmux' OR tmux_session IS NULL)
) STRICT, WITHOUT ROWID;

INSERT INTO specs_new (worker, number, argv, cwd, environment, terminal, terminal_columns, terminal_rows, record)
    SELECT worker, number, argv, cwd, environment, terminal, terminal_columns, terminal_rows, record FROM specs;
DROP TABLE specs;
ALTER TABLE specs_new RENAME TO specs;

CREATE TABLE runs_new (
    id          TEXT    NOT NULL PRIMARY KEY,
    worker      TEXT    NOT NULL REFERENCES workers (id),
    lane        TEXT    NOT NULL REFERENCES lanes (id),
    number      INTEGER NOT NULL CHECK (number >= 1),
    spec        INTEGER NOT NULL,
    state       TEXT    NOT NULL CHECK (state IN ('starting', 'running', 'stopping', 'exited')),
    pid         INTEGER,
    start_time  INTEGER,
    boot_id     TEXT,
    exit_kind   TEXT    CHECK (exit_kind IN ('code', 'signal', 'lost', 'closed_by_hand', 'unresponsive', 'not_started')),
    exit_code   INTEGER,
    exit_signal INTEGER,
    exit_reason TEXT,
    created_at  INTEGER NOT NULL,
    started_at  INTEGER,
    ended_at    INTEGER,
    -- its channel, if it has one: what it has said is recorded up to this number
    channel_taken      INTEGER,
    channel_unreadable INTEGER NOT NULL DEFAULT 0,
    ready_at           INTEGER,
    -- why it is being ended: it was not ready in time, or does not answer
    unresponsive       TEXT,
    UNIQUE (worker, number),
    FOREIGN KEY (worker, spec) REFERENCES specs (worker, number),
    CHECK ((state = 'exited') = (exit_kind IS NOT NULL)),
    CHECK ((pid IS NULL) = (start_time IS NULL) AND (pid IS NULL) = (boot_id IS NULL))
) STRICT, WITHOUT ROWID;

INSERT INTO runs_new (id, worker, lane, number, spec, state, pid, start_time, boot_id, exit_kind, exit_code,
                      exit_signal, exit_reason, created_at, started_at, ended_at)
    SELECT id, worker, lane, number, spec, state, pid, start_time, boot_id, exit_kind, exit_code,
           exit_signal, exit_reason, created_at, started_at, ended_at FROM runs;
DROP TABLE runs;
ALTER TABLE runs_new RENAME TO runs;

CREATE INDEX runs_live ON runs (lane, worker) WHERE state <> 'exited';
CREATE INDEX runs_spec ON runs (worker, spec);

-- The worker whose program asked for it.
ALTER TABLE workers ADD COLUMN parent TEXT;

-- The channel that its program is given, and what it is told to do at each start, a JSON object.
ALTER TABLE workers ADD COLUMN channel TEXT CHECK (channel IN ('jsonl', 'node-ipc'));
ALTER TABLE workers ADD COLUMN start_message TEXT;

-- The panes that a worker has or had, by numbers that are never given twice: a row stays when its pane is gone.
CREATE TABLE panes (
    worker            TEXT    NOT NULL REFERENCES workers (id),
    -- 0: the one that its program runs in
    number            INTEGER NOT NULL CHECK (number >= 0),
    run               TEXT    CHECK ((number = 0) = (run IS NOT NULL)),
    -- Which server, whatever stands on its socket by now.
    socket            BLOB    NOT NULL,
    server_pid        INTEGER NOT NULL,
    server_start_time INTEGER NOT NULL,
    server_boot_id    TEXT    NOT NULL,
    session_id        TEXT    NOT NULL,
    session           TEXT    NOT NULL,
    window_id         TEXT,
    window_name       TEXT    NOT NULL,
    pane_id           TEXT    NOT NULL,
    pane_pid          INTEGER NOT NULL,
    tag               TEXT    NOT NULL,
    gone              INTEGER NOT NULL CHECK (gone IN (0, 1)),
    PRIMARY KEY (worker, number)
) STRICT, WITHOUT ROWID;

CREATE INDEX panes_there ON panes (worker) WHERE NOT gone;

-- The worker whose terminal somebody attached to last.
CREATE TABLE last_attached (
    only_row INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    worker   TEXT    NOT NULL
) STRICT;

-- Who uses a lane is a person, known by a name, or a worker, known by its id under whatever name: one of each may have
-- the same one. Until now all were known by their name alone, and count as persons.
CREATE TABLE attachments_by_user (
    id         TEXT    NOT NULL PRIMARY KEY,
    lane       TEXT    NOT NULL REFERENCES lanes (id),
    -- a worker as it was called when it joined
    who        TEXT    NOT NULL,
    worker     TEXT    REFERENCES workers (id),
    role       TEXT    NOT NULL CHECK (role IN ('driver', 'observer')),
    joined_at  INTEGER NOT NULL,
    renewed_at INTEGER NOT NULL,
    until      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO attachments_by_user (id, lane, who, role, joined_at, renewed_at, until)
    SELECT id, lane, who, role, joined_at, renewed_at, until FROM attachments;
DROP TABLE attachments;
ALTER TABLE attachments_by_user RENAME TO attachments;

CREATE INDEX attachments_until ON attachments (until);
CREATE UNIQUE INDEX attachments_person ON attachments (lane, who) WHERE worker IS NULL;
CREATE UNIQUE INDEX attachments_worker ON attachments (lane, worker) WHERE worker IS NOT NULL;

-- The worker that asked for the close, if it was one; close_by has its name.
ALTER TABLE lanes ADD COLUMN close_by_worker TEXT;
