-- phase: before
-- Chat rooms: who is in one or may not be, what was said, and which of a client's messages are known.
CREATE TABLE room_memberships (
    user_id text NOT NULL REFERENCES users,
    room text NOT NULL,
    joined_at timestamptz NOT NULL,
    muted bool NOT NULL DEFAULT false,
    banned_until timestamptz,
    PRIMARY KEY (user_id, room)
);

-- cut by month; the runner makes the partitions
CREATE TABLE room_messages (
    id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    room text NOT NULL,
    user_id text NOT NULL,
    content text NOT NULL,
    client_message_id text NOT NULL,
    deleted_at timestamptz,
    deleted_by text,
    PRIMARY KEY (id, created_at)
) PARTITION BY RANGE (created_at);
-- the last messages of a room, and its pages
CREATE INDEX room_messages_page ON room_messages (room, created_at DESC);
-- what somebody said who is erased
CREATE INDEX room_messages_user ON room_messages (user_id);

-- a unique key without the partition column stands in a table of its own (design §8)
CREATE TABLE room_message_keys (
    user_id text NOT NULL,
    room text NOT NULL,
    client_message_id text NOT NULL,
    message_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, room, client_message_id)
);
-- what retention looks for
CREATE INDEX room_message_keys_age ON room_message_keys (created_at);
