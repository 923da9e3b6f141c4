-- Every statement the store makes, by name. A {name} stands for the text of that name.
-- The literals for `status` are explained in migrations/0001_start.sql.


-- record --
-- The columns of a record, in the order that rows.record_of takes them.
key, request, (SELECT arn FROM functions WHERE id = function), version, qualifier, cause, status, summary, attempt,
accepted_at, queued_at, due_at, started_at, duration, init, cold, memory, error_type, parent

-- know_function --
-- Write down a function's number.
INSERT OR IGNORE INTO functions (id, arn) VALUES (?, ?);

-- functions --
-- All functions there ever were, with their numbers.
SELECT arn, id FROM functions;

-- functions_named --
-- The numbers of the functions with this ARN, or with this name in any region and account.
SELECT id FROM functions WHERE arn = :function OR substr(arn, -length(:function) - 1) = ':' || :function;


-- accept_invocation --
-- Write one down that is to run later.
INSERT INTO invocations (key, request, function, qualifier, cause, status, summary, attempt, accepted_at, queued_at, due_at, parent)
VALUES (?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?);

-- keep_event --
-- Keep the event of one that has not ended, if it is not kept yet.
INSERT INTO payloads (key, event, client_context) VALUES (?, ?, ?) ON CONFLICT (key) DO NOTHING;

-- note_running --
-- Show that one runs. One that has ended stays as it ended, and one that waits again was put back by then.
INSERT INTO invocations (key, request, function, qualifier, cause, status, summary, attempt, accepted_at, queued_at, due_at, parent, version, started_at)
VALUES (?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET status = 1, version = excluded.version, started_at = excluded.started_at WHERE status = 1 OR (status = 0 AND claimed);

-- put_invocation --
-- Record how one ended, whether or not it was written down before.
INSERT INTO invocations (key, request, function, qualifier, cause, status, summary, attempt, accepted_at, queued_at, due_at, parent,
                         version, started_at, duration, init, cold, memory, error_type, stream, logged_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET status = excluded.status, version = excluded.version, started_at = excluded.started_at, duration = excluded.duration,
    init = excluded.init, cold = excluded.cold, memory = excluded.memory, error_type = excluded.error_type, stream = excluded.stream,
    logged_at = excluded.logged_at;

-- put_payload --
-- Keep what one was given, what it answered and what it printed.
INSERT INTO payloads (key, event, client_context, reply, logs, log_stream, runtime) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET reply = excluded.reply, logs = excluded.logs, log_stream = excluded.log_stream, runtime = excluded.runtime;

-- note_log_group --
-- A function has logged something.
INSERT INTO log_groups (function, created_at, bytes) VALUES (?, ?, ?) ON CONFLICT (function) DO UPDATE SET bytes = bytes + excluded.bytes;

-- note_log_stream --
-- A worker has logged something.
INSERT INTO log_streams (function, name, number, first_at, last_at, bytes) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (function, name) DO UPDATE SET last_at = max(last_at, excluded.last_at), bytes = bytes + excluded.bytes;


-- claim --
-- Take the due ones that have waited longest, whoever asks first; they are pending until they run. Functions in `skip` stay behind.
UPDATE invocations SET claimed = 1
WHERE key IN (
    SELECT key FROM invocations
    WHERE status = 0 AND due_at <= :now AND claimed IS NULL
        AND function NOT IN (SELECT id FROM functions WHERE arn IN (SELECT value FROM json_each(:skip)))
    ORDER BY due_at LIMIT :limit)
RETURNING (SELECT event FROM payloads WHERE payloads.key = invocations.key), (SELECT client_context FROM payloads WHERE payloads.key = invocations.key), {record};

-- postpone --
-- Put a claimed one back until it is due again.
UPDATE invocations SET status = 0, claimed = NULL, due_at = :due_at, started_at = NULL, version = NULL WHERE key = :key AND status IN (0, 1);

-- next_due --
-- When the first pending one is due that nobody has claimed, apart from those of the functions in `skip`; few looks a function, however many wait.
SELECT min((SELECT min(due_at) FROM invocations WHERE status = 0 AND function = id AND claimed IS NULL))
FROM functions WHERE arn NOT IN (SELECT value FROM json_each(:skip));

-- crash_payloads --
-- Say why the synchronous ones that ran when the server died have no reply.
UPDATE payloads SET reply = :error WHERE key IN (SELECT key FROM invocations WHERE status <> 2 AND status = 1 AND accepted_at IS NULL);

-- crash_running --
-- Nobody waits any more for the synchronous ones that ran when the server died.
UPDATE invocations SET status = 5, error_type = :error_type WHERE status <> 2 AND status = 1 AND accepted_at IS NULL RETURNING 1;

-- restart_running --
-- The accepted ones that ran, or were about to, when the server died are due at once, in the same attempt.
UPDATE invocations SET status = 0, claimed = NULL, due_at = :now, started_at = NULL, version = NULL
WHERE status <> 2 AND status IN (0, 1) AND (status = 1 OR claimed) AND accepted_at IS NOT NULL RETURNING 1;


-- list_all --
-- A page over everything, newest first.
WITH candidates AS MATERIALIZED (SELECT * FROM invocations WHERE {between} ORDER BY key DESC LIMIT :chunk)
{candidates_that_match};

-- list_function --
-- A page of one function.
WITH candidates AS MATERIALIZED (SELECT * FROM invocations WHERE function = :function AND {between} ORDER BY key DESC LIMIT :chunk)
{candidates_that_match};

-- list_function_failed --
-- A page of one function with one of the failed statuses.
WITH candidates AS MATERIALIZED (
    SELECT * FROM invocations
    WHERE status NOT IN (0, 1, 2) AND function = :function AND status = :status AND {between} ORDER BY key DESC LIMIT :chunk)
{candidates_that_match};

-- list_failed --
-- A page with any of the failed statuses.
WITH candidates AS MATERIALIZED (SELECT * FROM invocations WHERE status NOT IN (0, 1, 2) AND {between} ORDER BY key DESC LIMIT :chunk)
{candidates_that_match};

-- list_status --
-- A page with one status, which is not succeeded.
WITH candidates AS MATERIALIZED (SELECT * FROM invocations WHERE status <> 2 AND status = :status AND {between} ORDER BY key DESC LIMIT :chunk)
{candidates_that_match};

-- list_live --
-- A page of what has not ended.
WITH candidates AS MATERIALIZED (
    SELECT * FROM (SELECT * FROM invocations WHERE status <> 2 AND status = 0 AND {between} ORDER BY key DESC LIMIT :chunk)
    UNION ALL
    SELECT * FROM (SELECT * FROM invocations WHERE status <> 2 AND status = 1 AND {between} ORDER BY key DESC LIMIT :chunk)
    ORDER BY key DESC LIMIT :chunk)
{candidates_that_match};

-- list_cause --
-- A page with one cause, which is not http.
WITH candidates AS MATERIALIZED (SELECT * FROM invocations WHERE cause <> 'http' AND cause = :cause AND {between} ORDER BY key DESC LIMIT :chunk)
{candidates_that_match};

-- list_function_cause --
-- A page of one function with one cause, which is not http.
WITH candidates AS MATERIALIZED (
    SELECT * FROM invocations WHERE cause <> 'http' AND function = :function AND cause = :cause AND {between} ORDER BY key DESC LIMIT :chunk)
{candidates_that_match};

-- list_words --
-- A page of what holds words: by the index, and what is not in it yet.
WITH candidates AS MATERIALIZED (
    SELECT * FROM (
        SELECT key FROM (
            SELECT key FROM (SELECT rowid AS place FROM words_a WHERE words_a MATCH :match AND {in_places}) JOIN places USING (place)
            UNION SELECT key FROM (SELECT rowid AS place FROM words_b WHERE words_b MATCH :match AND {in_places}) JOIN places USING (place)
            UNION SELECT * FROM (SELECT key FROM unindexed WHERE {between} ORDER BY key DESC LIMIT :chunk)
            UNION SELECT * FROM (SELECT key FROM ended WHERE {between} ORDER BY key DESC LIMIT :chunk)
            UNION SELECT * FROM (SELECT key FROM invocations WHERE status <> 2 AND status = 0 AND {between} ORDER BY key DESC LIMIT :chunk)
            UNION SELECT * FROM (SELECT key FROM invocations WHERE status <> 2 AND status = 1 AND {between} ORDER BY key DESC LIMIT :chunk))
        WHERE {between} ORDER BY key DESC LIMIT :chunk)
    LEFT JOIN invocations USING (key))
{candidates_that_match};

-- in_places --
-- The same as `between`, for rows of an index; one more, since the first may be where the page before this one ended.
rowid <= :before_place AND rowid >= :after_place ORDER BY rowid DESC LIMIT :chunk + 1

-- between --
-- From the page's start back to the filter's.
key < :before AND key >= :after

-- candidates_that_match --
-- The candidates that pass every filter, and on each row (at least one) how many were looked at and where the last of them stood.
SELECT examined, last, {record}
FROM (SELECT count(*) AS examined, min(key) AS last FROM candidates) LEFT JOIN candidates
    ON function IS NOT NULL     -- else it was found by an index of words and is forgotten
    AND (:functions IS NULL OR function IN (SELECT value FROM json_each(:functions)))
    AND (:statuses IS NULL OR status IN (SELECT value FROM json_each(:statuses)))
    AND (:cause IS NULL OR cause = :cause)
    AND (:version IS NULL OR version = :version)
    AND (:qualifier IS NULL OR qualifier = :qualifier)
    AND (:shortest IS NULL OR duration >= :shortest)
    AND (:longest IS NULL OR duration <= :longest)
    AND (:likes IS NULL OR EXISTS (SELECT 1 FROM payloads WHERE payloads.key = candidates.key AND {holds_all_words}))
ORDER BY key DESC LIMIT :limit

-- holds_all_words --
-- Whether the payload of a candidate holds what is sought; the database looks first, since asking Python costs more.
CASE WHEN NOT EXISTS (
    SELECT 1 FROM json_each(:likes) AS run WHERE NOT (
        summary LIKE run.value OR CAST(event AS TEXT) LIKE run.value OR coalesce(CAST(reply AS TEXT) LIKE run.value, 0)
        OR coalesce(CAST(logs AS TEXT) LIKE run.value, 0)))
THEN holds(:q, summary, event, reply, logs) END

-- attempts --
-- All attempts of one request, first to last.
SELECT {record} FROM invocations WHERE key = :id AND request IS NULL
UNION ALL
SELECT {record} FROM invocations WHERE request IS NOT NULL AND request = :id
ORDER BY attempt, key;

-- children --
-- What one invocation led to, oldest first.
SELECT {record} FROM invocations WHERE parent IS NOT NULL AND parent = :parent ORDER BY key LIMIT :limit;

-- waiting --
-- What waits to be run, by function; of very many only the first few thousand are counted.
SELECT (SELECT arn FROM functions WHERE id = function), count(*) AS pending, sum(attempt > 1), min(due_at)
FROM (SELECT function, attempt, due_at FROM invocations WHERE status = 0 LIMIT :most) GROUP BY function ORDER BY pending DESC;

-- size --
-- About how many invocations there are (numbers that were given, less those forgotten), and the oldest.
SELECT coalesce((SELECT max(number) FROM payloads) - (SELECT min(number) FROM payloads) + 1, 0), (SELECT min(key) FROM invocations);

-- payload --
-- What one attempt was given, answered and printed.
SELECT event, reply, logs, log_stream, runtime, client_context FROM payloads WHERE key = :key;


-- log_groups --
-- The functions whose ARN begins so and that have logged something.
SELECT arn, created_at, bytes FROM functions JOIN log_groups ON function = id WHERE arn >= :begin AND arn < :begin || char(0x10FFFF) ORDER BY arn;

-- log_stream_columns --
-- The columns of a stream.
name, number, first_at, last_at

-- log_stream --
-- One stream of a function.
SELECT {log_stream_columns} FROM log_streams WHERE function = (SELECT id FROM functions WHERE arn = :arn) AND name = :name;

-- log_streams_up --
-- A function's streams by name, after one.
SELECT {log_stream_columns} FROM log_streams WHERE function = (SELECT id FROM functions WHERE arn = :arn) AND name > :name
AND (:begin = '' OR (name >= :begin AND name < :begin || char(0x10FFFF))) ORDER BY name LIMIT :limit;

-- log_streams_down --
-- A function's streams by name, before one.
SELECT {log_stream_columns} FROM log_streams WHERE function = (SELECT id FROM functions WHERE arn = :arn) AND name < :name
AND (:begin = '' OR (name >= :begin AND name < :begin || char(0x10FFFF))) ORDER BY name DESC LIMIT :limit;

-- log_streams_oldest --
-- A function's streams by their last log, after one.
SELECT {log_stream_columns} FROM log_streams WHERE function = (SELECT id FROM functions WHERE arn = :arn) AND (last_at, name) > (:at, :name)
ORDER BY last_at, name LIMIT :limit;

-- log_streams_newest --
-- A function's streams by their last log, before one.
SELECT {log_stream_columns} FROM log_streams WHERE function = (SELECT id FROM functions WHERE arn = :arn) AND (last_at, name) < (:at, :name)
ORDER BY last_at DESC, name DESC LIMIT :limit;

-- log_streams_named --
-- Some streams of a function by name: their numbers, and between when they logged.
SELECT number, first_at, last_at FROM log_streams
WHERE function = (SELECT id FROM functions WHERE arn = :arn) AND name IN (SELECT value FROM json_each(:names));

-- log_streams_beginning --
-- The same of those whose names begin so.
SELECT number, first_at, last_at FROM log_streams
WHERE function = (SELECT id FROM functions WHERE arn = :arn) AND name >= :begin AND name < :begin || char(0x10FFFF);

-- logs --
-- A function's logs between two instants, all of them or those of some streams, with the stream's name. The index has all that is asked.
SELECT logged_at, invocations.key, log_stream, logs FROM invocations JOIN payloads ON payloads.key = invocations.key
WHERE function = (SELECT id FROM functions WHERE arn = :arn) AND logged_at IS NOT NULL AND logged_at >= :since AND logged_at < :until
AND (:streams IS NULL OR stream IN (SELECT value FROM json_each(:streams)))

-- logs_on --
-- Those from one on.
{logs} AND (logged_at, invocations.key) >= (:at, :key) ORDER BY logged_at, invocations.key LIMIT :limit;

-- logs_back --
-- Those from one on backwards.
{logs} AND (logged_at, invocations.key) <= (:at, :key) ORDER BY logged_at DESC, invocations.key DESC LIMIT :limit;

-- forget_log_streams --
-- Forget the streams of a log group that is deleted.
DELETE FROM log_streams WHERE function = (SELECT id FROM functions WHERE arn = ?);

-- forget_log_group --
-- Forget a log group that is deleted.
DELETE FROM log_groups WHERE function = (SELECT id FROM functions WHERE arn = ?);


-- key_beyond_count --
-- The newest key past the `count` newest, found by the number of its payload instead of by counting.
SELECT key FROM payloads WHERE number <= (SELECT max(number) FROM payloads) - :count ORDER BY number DESC LIMIT 1;

-- prune_payloads --
-- Forget the payloads of a batch of the oldest; the ones of prune_invocations, which follows in the same transaction.
DELETE FROM payloads WHERE key IN (SELECT key FROM invocations WHERE key < :before AND status > 1 ORDER BY key LIMIT :batch);

-- prune_invocations --
-- Forget a batch of the oldest that have ended.
DELETE FROM invocations WHERE key IN (SELECT key FROM invocations WHERE key < :before AND status > 1 ORDER BY key LIMIT :batch) RETURNING 1;

-- shrink_log_groups --
-- The streams of prune_log_streams, which follows, count no more.
UPDATE log_groups SET bytes = bytes - (
    SELECT coalesce(sum(bytes), 0) FROM log_streams WHERE log_streams.function = log_groups.function AND last_at < :at);

-- prune_log_streams --
-- Forget the streams whose last log was forgotten.
DELETE FROM log_streams WHERE function IN (SELECT function FROM log_groups) AND last_at < :at;


-- newly_ended --
-- What has ended and is not counted yet, as one row: from and up to which number, how many, when the newest of all started, and by second as JSON.
WITH batch AS MATERIALIZED (SELECT number, key FROM ended ORDER BY number LIMIT :limit),
     those AS (SELECT invocations.* FROM batch JOIN invocations USING (key))
SELECT (SELECT min(number) FROM batch), (SELECT max(number) FROM batch), (SELECT count(*) FROM batch),
    (SELECT coalesce(started_at, queued_at) / 1000000 FROM invocations WHERE key = (SELECT key FROM ended ORDER BY number DESC LIMIT 1)), {ended_by_second};

-- ended_between --
-- What of some functions was made and started between two instants and has ended, by second as JSON.
WITH those AS (
    SELECT * FROM invocations
    WHERE function IN (SELECT value FROM json_each(:functions)) AND key >= :made_since AND key < :made_until
        AND status NOT IN (0, 1) AND started_at >= :since AND started_at < :until)
SELECT {ended_by_second};

-- ended_by_second --
-- Those who ended, by the second they started (or were queued), function, version and status: how many, how many cold, and their durations.
(SELECT json_group_array(json_array(at, function, version, status, ended, cold, json(durations))) FROM (
    SELECT coalesce(started_at, queued_at) / 1000000 AS at, function, coalesce(version, '') AS version, status, count(*) AS ended, sum(cold) AS cold,
        json_group_array(duration) FILTER (WHERE duration IS NOT NULL) AS durations
    FROM those GROUP BY 1, 2, 3, 4))

-- begin_counting --
-- Whoever takes the first of a batch counts it.
DELETE FROM ended WHERE number = :first;

-- forget_ended --
-- These are counted.
DELETE FROM ended WHERE number <= :last;

-- roll_ups --
-- Roll-ups as JSON, in the order that rollups.roll_up_of takes each.
SELECT json_group_array(json_array(step, function, at, version, succeeded, failed, timed_out, crashed, throttled, missed, cold, json(durations)))

-- ends --
-- The same without the durations, which are most of it.
SELECT json_group_array(json_array(step, function, at, version, succeeded, failed, timed_out, crashed, throttled, missed, cold, json('[]')))

-- in_stretch --
-- The roll-ups of some functions in a stretch of time.
FROM roll_ups WHERE step = :step AND function IN (SELECT value FROM json_each(:functions)) AND at >= :since AND at < :until

-- roll_ups_at --
-- The roll-ups that there are at these places.
{roll_ups} FROM json_each(:places) AS place CROSS JOIN roll_ups
WHERE step = json_extract(place.value, '$[0]') AND function = json_extract(place.value, '$[1]')
    AND at = json_extract(place.value, '$[2]') AND version = json_extract(place.value, '$[3]');

-- roll_ups_of_all --
-- Those of all versions together.
{roll_ups} {in_stretch} AND version = '*';

-- roll_ups_of_versions --
-- Those of each version.
{roll_ups} {in_stretch} AND version <> '*';

-- ends_of_all --
-- Those of all versions together, without durations.
{ends} {in_stretch} AND version = '*';

-- ends_of_versions --
-- Those of each version, without durations.
{ends} {in_stretch} AND version <> '*';

-- keep_roll_up --
-- A roll-up as it is now.
INSERT INTO roll_ups (step, function, at, version, succeeded, failed, timed_out, crashed, throttled, missed, cold, durations)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (step, function, at, version) DO UPDATE SET succeeded = excluded.succeeded, failed = excluded.failed, timed_out = excluded.timed_out,
    crashed = excluded.crashed, throttled = excluded.throttled, missed = excluded.missed, cold = excluded.cold, durations = excluded.durations;

-- prune_roll_ups --
-- Forget roll-ups that no chart needs any more.
DELETE FROM roll_ups WHERE step = :step AND at < :before AND function IN (SELECT 0 UNION ALL SELECT id FROM functions);


-- index_everything --
-- All that has ended is to be indexed.
INSERT OR IGNORE INTO unindexed (key) SELECT key FROM invocations WHERE status NOT IN (0, 1);

-- note_unindexed --
-- These have ended and are to be indexed.
INSERT OR IGNORE INTO unindexed (key) SELECT key FROM ended WHERE number <= :last;

-- next_unindexed --
-- The next ones to be indexed: from which to which, and how many.
SELECT min(key), max(key), count(*) FROM (SELECT key FROM unindexed ORDER BY key LIMIT :limit);

-- forget_unindexed --
-- These are indexed.
DELETE FROM unindexed WHERE key <= :last;

-- index_words_a --
-- Index the words of a batch, where `a` is the index that is written.
INSERT INTO words_a (rowid, text) {texts};

-- index_words_b --
-- Index the words of a batch, where `b` is the index that is written.
INSERT INTO words_b (rowid, text) {texts};

-- texts --
-- All that may be sought in a batch, once more with its escapes as what they mean: Python is asked only where that takes more than one look.
WITH batch AS MATERIALIZED (
    SELECT hex(key) AS hex, summary || char(10) || CAST(event AS TEXT) || char(10) || coalesce(CAST(reply AS TEXT), '') || char(10) || coalesce(CAST(logs AS TEXT), '') AS text
    FROM unindexed JOIN invocations USING (key) JOIN payloads USING (key) WHERE key <= :last ORDER BY key)
SELECT {place}, CASE
    WHEN instr(CAST(text AS BLOB), x'F09F') THEN spelled_out(CAST(text AS BLOB))   -- SQLite takes many an emoji for a letter
    WHEN instr(text, '\') = 0 THEN text
    WHEN instr(text, '\u') OR instr(text, '\\') THEN spelled_out(CAST(text AS BLOB))
    ELSE text || char(10) || replace(replace(replace(replace(replace(text, '\n', ' '), '\t', ' '), '\r', ' '), '\b', ' '), '\f', ' ') END
FROM batch

-- place --
-- The first eight bytes of a key as a number: SQLite reads no hexadecimal digits but its own.
(instr('123456789ABCDEF', substr(hex, 1, 1)) - 8 << 60) + (instr('123456789ABCDEF', substr(hex, 2, 1)) << 56) + (instr('123456789ABCDEF', substr(hex, 3, 1)) << 52)
+ (instr('123456789ABCDEF', substr(hex, 4, 1)) << 48) + (instr('123456789ABCDEF', substr(hex, 5, 1)) << 44) + (instr('123456789ABCDEF', substr(hex, 6, 1)) << 40)
+ (instr('123456789ABCDEF', substr(hex, 7, 1)) << 36) + (instr('123456789ABCDEF', substr(hex, 8, 1)) << 32) + (instr('123456789ABCDEF', substr(hex, 9, 1)) << 28)
+ (instr('123456789ABCDEF', substr(hex, 10, 1)) << 24) + (instr('123456789ABCDEF', substr(hex, 11, 1)) << 20) + (instr('123456789ABCDEF', substr(hex, 12, 1)) << 16)
+ (instr('123456789ABCDEF', substr(hex, 13, 1)) << 12) + (instr('123456789ABCDEF', substr(hex, 14, 1)) << 8) + (instr('123456789ABCDEF', substr(hex, 15, 1)) << 4)
+ instr('123456789ABCDEF', substr(hex, 16, 1))

-- keep_places --
-- Which keys the numbers of a batch stand for.
INSERT OR IGNORE INTO places (place, key) SELECT {place}, key FROM (SELECT hex(key) AS hex, key FROM unindexed WHERE key <= :last);

-- turns --
-- Both indexes of words.
SELECT name, first, last, written FROM turns;

-- extend_turn --
-- How far an index reaches now.
UPDATE turns SET first = min(coalesce(first, :first), :first), last = max(coalesce(last, :last), :last) WHERE name = :name;

-- empty_words_a --
-- Forget all of index `a`.
INSERT INTO words_a (words_a) VALUES ('delete-all');

-- empty_words_b --
-- Forget all of index `b`.
INSERT INTO words_b (words_b) VALUES ('delete-all');

-- forget_places --
-- Forget the numbers of an index that was emptied.
DELETE FROM places WHERE place <= :last;

-- turn --
-- The emptied index is written from now on.
UPDATE turns SET written = name = :name, first = iif(name = :name, NULL, first), last = iif(name = :name, NULL, last);

-- count_word --
-- In how many records a word occurs, up to a limit.
SELECT (SELECT count(*) FROM (SELECT 1 FROM words_a WHERE words_a MATCH :match LIMIT :most))
    + (SELECT count(*) FROM (SELECT 1 FROM words_b WHERE words_b MATCH :match LIMIT :most));

-- oldest --
-- The oldest there is.
SELECT min(key) FROM invocations;

-- schedule_times --
-- When each schedule is next due.
SELECT trigger, next_at FROM schedules;

-- keep_schedule_time --
-- Remember when a schedule is next due.
INSERT INTO schedules (trigger, next_at) VALUES (?, ?) ON CONFLICT (trigger) DO UPDATE SET next_at = excluded.next_at;

-- advance_schedule --
-- Win this turn of a schedule: whoever still finds it due then moves it on.
UPDATE schedules SET next_at = :following WHERE trigger = :trigger AND next_at = :due;

-- end_schedule --
-- Win the last turn of a schedule.
DELETE FROM schedules WHERE trigger = :trigger AND next_at = :due;

-- forget_schedule --
-- A schedule nobody declares any more.
DELETE FROM schedules WHERE trigger = ?;


-- objects --
-- All objects of one bucket.
SELECT key, size, mtime_ns, inode, etag, sequencer FROM objects WHERE bucket = :bucket;

-- put_object --
-- An object as it is now.
INSERT INTO objects (bucket, key, size, mtime_ns, inode, etag, sequencer) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (bucket, key) DO UPDATE SET size = excluded.size, mtime_ns = excluded.mtime_ns, inode = excluded.inode,
    etag = excluded.etag, sequencer = excluded.sequencer;

-- remove_object --
-- An object that is gone.
DELETE FROM objects WHERE bucket = ? AND key = ?;

-- bucket_known --
-- Whether the files of a bucket have been taken in before.
SELECT 1 FROM buckets WHERE name = :bucket;

-- know_bucket --
-- From now on a new file in this bucket is an event.
INSERT OR IGNORE INTO buckets (name) VALUES (?);


-- documents --
-- The documents of one kind, of one owner or of all, by owner and name.
SELECT owner, name, body FROM documents WHERE kind = :kind AND (:owner IS NULL OR owner = :owner) ORDER BY owner, name;

-- keep_document --
-- A document as it is now.
INSERT INTO documents (kind, owner, name, body) VALUES (?, ?, ?, ?) ON CONFLICT (kind, owner, name) DO UPDATE SET body = excluded.body;

-- forget_document --
-- A document that is gone.
DELETE FROM documents WHERE kind = ? AND owner = ? AND name = ?;
