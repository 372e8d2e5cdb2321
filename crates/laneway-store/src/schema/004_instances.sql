-- Instances of configured programs, and what they have done.

-- The launch spec that the next run of a worker is started with.
ALTER TABLE workers ADD COLUMN spec INTEGER NOT NULL DEFAULT 1;

-- No foreign keys to lane and worker: an instance outlives both.
CREATE TABLE instances (
    id         TEXT    NOT NULL PRIMARY KEY,
    workspace  TEXT    NOT NULL REFERENCES workspaces (id),
    program    TEXT    NOT NULL,
    -- what it is called in requests
    name       TEXT    NOT NULL,
    -- moves on with each start and stop: what was begun before is void
    epoch      INTEGER NOT NULL,
    -- a start was asked for, and its worker does not run yet
    starting   INTEGER NOT NULL CHECK (starting IN (0, 1)),
    -- why the last start came to nothing
    failure    TEXT,
    lane       TEXT,
    worker     TEXT,
    -- JSON objects
    start      TEXT    NOT NULL,
    config     TEXT    NOT NULL,
    -- its picture: what its program says that it does; agents are a JSON list
    started_at INTEGER,
    finished   INTEGER NOT NULL CHECK (finished IN (0, 1)),
    round      INTEGER NOT NULL,
    mission    TEXT,
    model      TEXT,
    dry_run    INTEGER NOT NULL CHECK (dry_run IN (0, 1)),
    agents     TEXT    NOT NULL,
    -- how often its program said that it started
    n_runs     INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (workspace, program, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX instances_lane ON instances (lane) WHERE lane IS NOT NULL;
CREATE UNIQUE INDEX instances_worker ON instances (worker) WHERE worker IS NOT NULL;

-- What instances have done, from a start to a stop as their programs said it. It stays when its instance is removed.
CREATE TABLE instance_runs (
    instance   TEXT    NOT NULL,
    number     INTEGER NOT NULL CHECK (number >= 1),
    workspace  TEXT    NOT NULL REFERENCES workspaces (id),
    program    TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    mission    TEXT,
    model      TEXT,
    dry_run    INTEGER NOT NULL CHECK (dry_run IN (0, 1)),
    started_at INTEGER NOT NULL,
    stopped_at INTEGER,
    outcome    TEXT    NOT NULL CHECK (outcome IN ('running', 'completed', 'stopped', 'error', 'lost')),
    rounds     INTEGER NOT NULL,
    agents     INTEGER NOT NULL,
    PRIMARY KEY (instance, number),
    CHECK ((outcome = 'running') = (stopped_at IS NULL))
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX instance_runs_open ON instance_runs (instance) WHERE stopped_at IS NULL;
CREATE INDEX instance_runs_program ON instance_runs (workspace, program, started_at);

-- What each run of a worker is limited to, a JSON object; none if nothing is.
ALTER TABLE workers ADD COLUMN limits TEXT;

-- Runs can end at a limit: which one is in exit_reason. What a table allows cannot be changed in place.
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
    exit_kind   TEXT    CHECK (exit_kind IN ('code', 'signal', 'lost', 'closed_by_hand', 'unresponsive', 'limit', 'not_started')),
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

INSERT INTO runs_new (id, worker, lane, number, spec, state, pid, start_time, boot_id, exit_kind, exit_code, exit_signal, exit_reason,
                      created_at, started_at, ended_at, channel_taken, channel_unreadable, ready_at, unresponsive)
    SELECT id, worker, lane, number, spec, state, pid, start_time, boot_id, exit_kind, exit_code, exit_signal, exit_reason,
           created_at, started_at, ended_at, channel_taken, channel_unreadable, ready_at, unresponsive FROM runs;
DROP TABLE runs;
ALTER TABLE runs_new RENAME TO runs;

CREATE INDEX runs_live ON runs (lane, worker) WHERE state <> 'exited';
CREATE INDEX runs_spec ON runs (worker, spec);
