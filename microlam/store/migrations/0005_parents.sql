-- What an invocation led to.
CREATE INDEX invocations_by_parent ON invocations (parent, key) WHERE parent IS NOT NULL;
