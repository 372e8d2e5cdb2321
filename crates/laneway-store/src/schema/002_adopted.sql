-- Worktrees that somebody made and Laneway only uses. One whose HEAD was detached has the branch ''.
ALTER TABLE lanes ADD COLUMN adopted INTEGER NOT NULL DEFAULT 0 CHECK (adopted IN (0, 1));
