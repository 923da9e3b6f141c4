-- What one printed is logged when it ends, in the stream of the worker that ran it.
ALTER TABLE invocations ADD COLUMN stream INTEGER;      -- the number of the log stream; NULL: it logged nothing
ALTER TABLE invocations ADD COLUMN logged_at INTEGER;

-- One index for groups and streams: streams know between when they logged, and only few workers log meanwhile.
CREATE INDEX invocations_by_log ON invocations (function, logged_at, key, stream) WHERE logged_at IS NOT NULL;

-- A function has a log group from its first log on. One that was deleted begins anew: older logs belong to none.
CREATE TABLE log_groups (
    function   INTEGER PRIMARY KEY,
    created_at INTEGER NOT NULL,
    bytes      INTEGER NOT NULL
);

CREATE TABLE log_streams (
    function INTEGER NOT NULL,
    name     TEXT NOT NULL,
    number   INTEGER NOT NULL,              -- made of the name
    first_at INTEGER NOT NULL,
    last_at  INTEGER NOT NULL,
    bytes    INTEGER NOT NULL,
    PRIMARY KEY (function, name)
) WITHOUT ROWID;

CREATE INDEX log_streams_by_last ON log_streams (function, last_at, name);
