"""What AWS would send: one module a source, pure functions from facts to the event a handler gets."""
