-- A pending one that the server has taken out to run it as soon as its function has a worker free: nobody takes it again. NULL: nobody has.
ALTER TABLE invocations ADD COLUMN claimed INTEGER;
