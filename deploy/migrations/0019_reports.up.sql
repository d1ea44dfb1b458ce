-- phase: before
-- What people report to the admins, who close it.
CREATE TABLE reports (
    id uuid PRIMARY KEY,
    user_id text NOT NULL REFERENCES users,
    kind text NOT NULL CHECK (kind IN ('user', 'question', 'answer', 'message')),
    subject_id text NOT NULL,
    reason text NOT NULL,
    created_at timestamptz NOT NULL,
    closed_at timestamptz,
    closed_by text
);
-- the pages of the admins: what is open, oldest first
CREATE INDEX reports_open ON reports (created_at, id) WHERE closed_at IS NULL;
CREATE INDEX reports_closed ON reports (created_at, id) WHERE closed_at IS NOT NULL;
-- what somebody reported who is erased
CREATE INDEX reports_user ON reports (user_id);
