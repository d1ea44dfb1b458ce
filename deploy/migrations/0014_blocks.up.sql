-- phase: before
-- Who wants nothing to pass between them and somebody else.
CREATE TABLE blocks (
    user_id text NOT NULL REFERENCES users,
    blocked_id text NOT NULL REFERENCES users,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, blocked_id),
    CHECK (user_id <> blocked_id)
);
-- both ways
CREATE INDEX blocks_blocked ON blocks (blocked_id);
