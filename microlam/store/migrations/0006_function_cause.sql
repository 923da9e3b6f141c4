-- A function's schedules and files are looked for apart from its requests, of which there may be very many more.
CREATE INDEX invocations_by_function_cause ON invocations (function, cause, key) WHERE cause <> 'http';
