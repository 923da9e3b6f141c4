-- What happened and what is to happen. Instants and durations are whole microseconds, instants since 1970 in UTC.
-- `status` is the place in model.STATUSES: 0 pending, 1 running, 2 succeeded, 3 failed, 4 timed_out, 5 crashed, 6 throttled, 7 missed.
-- SQLite uses a partial index only for a query that repeats its condition with literals, never with bound values.
-- The condition must not be a range (`status > 2`): SQLite then searches by the range instead of the one status asked for, and sorts.

CREATE TABLE functions (
    id  INTEGER PRIMARY KEY,
    arn TEXT NOT NULL UNIQUE
);

-- One row an attempt, narrow, for lists. `key` is a UUIDv7 as bytes, so rows lie in the order of time and newest comes last.
CREATE TABLE invocations (
    key         BLOB NOT NULL PRIMARY KEY,
    request     BLOB,                       -- the AWS request id where it is not the key: a retry
    function    INTEGER NOT NULL,
    version     TEXT,                       -- what ran it; nobody knows while it is pending
    qualifier   TEXT,                       -- what was asked for
    cause       TEXT NOT NULL,
    status      INTEGER NOT NULL,
    summary     TEXT NOT NULL,
    attempt     INTEGER NOT NULL,
    accepted_at INTEGER,                    -- of the first attempt; NULL: somebody waits for the reply and nobody retries
    queued_at   INTEGER NOT NULL,
    due_at      INTEGER,                    -- a pending one always has it
    started_at  INTEGER,
    duration    INTEGER,
    init        INTEGER,
    cold        INTEGER NOT NULL DEFAULT 0,
    memory      INTEGER NOT NULL DEFAULT 0,
    error_type  TEXT,
    parent      BLOB
) WITHOUT ROWID;

CREATE INDEX invocations_by_function ON invocations (function, key);
CREATE INDEX invocations_by_function_failed ON invocations (function, status, key) WHERE status NOT IN (0, 1, 2);
CREATE INDEX invocations_by_status ON invocations (status, key) WHERE status <> 2;
CREATE INDEX invocations_by_cause ON invocations (cause, key) WHERE cause <> 'http';
CREATE INDEX invocations_due ON invocations (due_at, function, key) WHERE status = 0;
CREATE INDEX invocations_due_by_function ON invocations (function, due_at) WHERE status = 0;
CREATE INDEX invocations_by_request ON invocations (request) WHERE request IS NOT NULL;

-- What is read one at a time. `number` counts the rows ever written, so that retention by count need not count them.
CREATE TABLE payloads (
    number         INTEGER PRIMARY KEY,
    key            BLOB NOT NULL UNIQUE,
    event          BLOB NOT NULL,
    reply          BLOB,                    -- or the error object
    logs           BLOB,
    log_stream     TEXT,
    runtime        TEXT,
    client_context TEXT
);

CREATE TABLE schedules (
    trigger TEXT NOT NULL PRIMARY KEY,
    next_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE buckets (
    name TEXT NOT NULL PRIMARY KEY
) WITHOUT ROWID;

CREATE TABLE objects (
    bucket    TEXT NOT NULL,
    key       BLOB NOT NULL,                -- a file's name need not be UTF-8
    size      INTEGER NOT NULL,
    mtime_ns  INTEGER NOT NULL,
    inode     INTEGER NOT NULL,
    etag      TEXT NOT NULL,
    sequencer TEXT NOT NULL,
    PRIMARY KEY (bucket, key)
) WITHOUT ROWID;
