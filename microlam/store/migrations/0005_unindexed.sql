-- What has ended and is not in the index of words yet. The index is a file of its own (migrations/words), so that writing it holds nothing up.
CREATE TABLE unindexed (
    key BLOB NOT NULL PRIMARY KEY
) WITHOUT ROWID;
