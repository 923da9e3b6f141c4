-- What was told to be kept: one JSON document a thing. `kind` says what it is, `owner` whose (an ARN, or "ACCOUNT:REGION"), `name` which of the owner's.
CREATE TABLE documents (
    kind  TEXT NOT NULL,
    owner TEXT NOT NULL,
    name  TEXT NOT NULL,
    body  TEXT NOT NULL,
    PRIMARY KEY (kind, owner, name)
) WITHOUT ROWID;
