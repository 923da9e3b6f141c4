-- What has ended and is not counted yet, in the order it ended. Whatever ends an invocation, the triggers see it.
CREATE TABLE ended (
    number INTEGER PRIMARY KEY,
    key    BLOB NOT NULL
);

CREATE TRIGGER invocation_recorded AFTER INSERT ON invocations WHEN NEW.status NOT IN (0, 1)
BEGIN
    INSERT INTO ended (key) VALUES (NEW.key);
END;

CREATE TRIGGER invocation_ended AFTER UPDATE OF status ON invocations WHEN OLD.status IN (0, 1) AND NEW.status NOT IN (0, 1)
BEGIN
    INSERT INTO ended (key) VALUES (NEW.key);
END;

INSERT INTO ended (key) SELECT key FROM invocations WHERE status NOT IN (0, 1);

-- How many invocations of a version started within `step` seconds from `at` (seconds since 1970), by how they ended; function 0 and version * stand for all.
-- `durations` is a histogram as JSON (histogram.py): a bucket and its count, another bucket and its count.
CREATE TABLE roll_ups (
    step      INTEGER NOT NULL,
    function  INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    version   TEXT NOT NULL,
    succeeded INTEGER NOT NULL,
    failed    INTEGER NOT NULL,
    timed_out INTEGER NOT NULL,
    crashed   INTEGER NOT NULL,
    throttled INTEGER NOT NULL,
    missed    INTEGER NOT NULL,
    cold      INTEGER NOT NULL,
    durations TEXT NOT NULL,
    PRIMARY KEY (step, function, at, version)
) WITHOUT ROWID;

CREATE INDEX invocations_failed ON invocations (key) WHERE status NOT IN (0, 1, 2);
CREATE INDEX invocations_by_parent ON invocations (parent, key) WHERE parent IS NOT NULL;
