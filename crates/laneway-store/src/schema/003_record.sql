-- Whether what the terminal shows is recorded.
ALTER TABLE specs ADD COLUMN record INTEGER NOT NULL DEFAULT 0 CHECK (record IN (0, 1));
