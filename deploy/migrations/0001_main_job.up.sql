-- phase: before
-- The tables of one urgent question's whole way. Partitioned ones are cut by month of created_at;
-- the runner makes the partitions (hub/plumbing/migrations.py), since SQL cannot name a month ahead.

CREATE TABLE regions (
    code text PRIMARY KEY,
    name text NOT NULL,
    lat_min float8, lat_max float8, lng_min float8, lng_max float8,
    is_active bool NOT NULL DEFAULT true,
    shard text
);

CREATE TABLE neighbourhoods (
    code text PRIMARY KEY,
    region_code text NOT NULL REFERENCES regions,
    name text NOT NULL,
    lat float8 NOT NULL, lng float8 NOT NULL,
    radius_m int NOT NULL,
    is_active bool NOT NULL DEFAULT true
);

CREATE TABLE users (
    id text PRIMARY KEY,
    email text,
    nickname text NOT NULL,
    role text NOT NULL DEFAULT 'user' CHECK (role IN ('user', 'admin')),
    region_code text NOT NULL DEFAULT 'default',
    neighbourhood_code text,
    is_local_verified bool NOT NULL DEFAULT false,
    locale text NOT NULL DEFAULT 'ko',
    timezone text NOT NULL DEFAULT 'Asia/Seoul',
    kakao_user_key text,
    location_consent_at timestamptz,
    last_active_at timestamptz NOT NULL DEFAULT now(),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz
) WITH (autovacuum_vacuum_scale_factor = 0.1);
-- the order in which answerers are chosen (S2-116)
CREATE INDEX users_ranking ON users (region_code, is_local_verified, last_active_at DESC);

CREATE TABLE user_locations (
    user_id text PRIMARY KEY REFERENCES users,
    cell bigint,
    region_code text NOT NULL,
    neighbourhood_code text,
    updated_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.1);
-- who is in the cells of a wave
CREATE INDEX user_locations_cell ON user_locations (cell);

CREATE TABLE notification_preferences (
    user_id text PRIMARY KEY REFERENCES users,
    push_enabled bool NOT NULL DEFAULT true,
    email_enabled bool NOT NULL DEFAULT true,
    urgent_enabled bool NOT NULL DEFAULT true,
    answer_enabled bool NOT NULL DEFAULT true,
    digest_enabled bool NOT NULL DEFAULT true,
    kakao_enabled bool NOT NULL DEFAULT false,
    radius_m int NOT NULL DEFAULT 2000 CHECK (radius_m BETWEEN 500 AND 20000),
    muted_neighbourhoods text[] NOT NULL DEFAULT '{}',
    followed_hashtags text[] NOT NULL DEFAULT '{}',
    quiet_from time, quiet_to time,
    urgent_in_quiet bool NOT NULL DEFAULT false,
    updated_at timestamptz NOT NULL DEFAULT now()
) WITH (autovacuum_vacuum_scale_factor = 0.1);

CREATE TABLE devices (
    id uuid PRIMARY KEY,
    user_id text NOT NULL REFERENCES users,
    platform text NOT NULL CHECK (platform IN ('ios', 'android', 'web')),
    token text NOT NULL UNIQUE,
    environment text NOT NULL DEFAULT 'production' CHECK (environment IN ('production', 'sandbox')),
    app_version text,
    locale text,
    created_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now(),
    disabled_at timestamptz,
    disabled_reason text
);
-- the devices a push goes to
CREATE INDEX devices_user ON devices (user_id) WHERE disabled_at IS NULL;

CREATE TABLE questions (
    id text PRIMARY KEY,
    user_id text NOT NULL REFERENCES users,
    title text NOT NULL,
    content text NOT NULL,
    category text,
    region_code text NOT NULL,
    neighbourhood_code text,
    lat float8, lng float8,
    cell bigint,
    hashtags text[] NOT NULL DEFAULT '{}',
    urgency text NOT NULL CHECK (urgency IN ('normal', 'urgent')),
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'closed', 'deleted')),
    answer_count int NOT NULL DEFAULT 0,
    accepted_answer_id text,
    first_answer_at timestamptz,
    deadline_at timestamptz,
    urgent_state text CHECK (urgent_state IN
        ('open', 'wave', 'claimed', 'answered', 'closed', 'expired')),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.1);
-- lists of a region (S2-110)
CREATE INDEX questions_region ON questions (region_code, category, created_at DESC);
-- open questions near a place
CREATE INDEX questions_cell ON questions (cell) WHERE status = 'active';
CREATE INDEX questions_hashtags ON questions USING gin (hashtags);
-- open urgent questions of one asker, and of a neighbourhood for a join's `recent`
CREATE INDEX questions_urgent_asker ON questions (user_id, created_at DESC) WHERE urgency = 'urgent';
CREATE INDEX questions_urgent_open ON questions (neighbourhood_code, deadline_at)
    WHERE urgency = 'urgent' AND status = 'active';

CREATE TABLE answers (
    id text PRIMARY KEY,
    question_id text NOT NULL REFERENCES questions,
    user_id text NOT NULL REFERENCES users,
    content text NOT NULL,
    is_accepted bool NOT NULL DEFAULT false,
    accepted_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz
);
CREATE INDEX answers_question ON answers (question_id, created_at DESC);
CREATE INDEX answers_user ON answers (user_id, is_accepted, created_at DESC);
-- of two accepts at once one wins
CREATE UNIQUE INDEX answers_one_accepted ON answers (question_id) WHERE is_accepted;

CREATE TABLE point_transactions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id text NOT NULL REFERENCES users,
    amount int NOT NULL,
    reason text NOT NULL,
    answer_id text,
    question_id text,
    event_id uuid UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (answer_id, reason)
);
CREATE INDEX point_transactions_user ON point_transactions (user_id, created_at DESC);

CREATE TABLE urgent_waves (
    question_id text NOT NULL REFERENCES questions,
    wave int NOT NULL,
    radius_m int,
    due_at timestamptz NOT NULL,
    started_at timestamptz,
    recipients int NOT NULL DEFAULT 0,
    acknowledged int NOT NULL DEFAULT 0,
    cancelled_at timestamptz,
    PRIMARY KEY (question_id, wave)
);

CREATE TABLE question_recipients (
    question_id text NOT NULL REFERENCES questions,
    user_id text NOT NULL REFERENCES users,
    wave int NOT NULL,
    told_at timestamptz NOT NULL,
    acknowledged_at timestamptz,
    notification_id uuid,
    PRIMARY KEY (question_id, user_id)
);
CREATE INDEX question_recipients_user ON question_recipients (user_id, told_at DESC);

CREATE TABLE decisions (
    id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    user_id text NOT NULL,
    event_id uuid,
    question_id text,
    notification_id uuid,
    channel text,
    verdict text NOT NULL CHECK (verdict IN ('told', 'waiting', 'suppressed', 'expired', 'failed')),
    reason text NOT NULL,
    detail jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (id, created_at)
) PARTITION BY RANGE (created_at);
CREATE INDEX decisions_user ON decisions (user_id, question_id, created_at);
CREATE INDEX decisions_notification ON decisions (notification_id);

CREATE TABLE inbox_heads (
    user_id text PRIMARY KEY REFERENCES users,
    seq bigint NOT NULL DEFAULT 0,
    unread int NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE notifications (
    id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    user_id text NOT NULL,
    kind text NOT NULL,
    priority text NOT NULL CHECK (priority IN ('high', 'medium', 'low')),
    title text NOT NULL,
    body text NOT NULL,
    data jsonb NOT NULL DEFAULT '{}',
    event_id uuid,
    question_id text,
    answer_id text,
    seq bigint NOT NULL,
    acknowledged_at timestamptz,
    seen_at timestamptz,
    read_at timestamptz,
    deleted_at timestamptz,
    retracted_at timestamptz,
    expires_at timestamptz,
    PRIMARY KEY (id, created_at)
) PARTITION BY RANGE (created_at);
-- inbox:sync, GET /notifications/{userId}, unread counts
CREATE INDEX notifications_sync ON notifications (user_id, seq);
CREATE INDEX notifications_page ON notifications (user_id, created_at DESC, id);
CREATE INDEX notifications_unread ON notifications (user_id) WHERE read_at IS NULL;

CREATE TABLE notification_dedup (
    user_id text NOT NULL,
    dedup_key text NOT NULL,
    notification_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, dedup_key)
);

CREATE TABLE deliveries (
    id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    notification_id uuid NOT NULL,
    user_id text NOT NULL,
    channel text NOT NULL CHECK (channel IN ('socket', 'push', 'email', 'kakao')),
    status text NOT NULL CHECK (status IN
        ('queued', 'sending', 'sent', 'delivered', 'seen', 'failed', 'suppressed', 'expired')),
    reason text,
    lease_until timestamptz,
    attempts int NOT NULL DEFAULT 0,
    device_id uuid,
    provider_message_id text,
    error_code text,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id, created_at)
) PARTITION BY RANGE (created_at);
CREATE INDEX deliveries_notification ON deliveries (notification_id);
CREATE INDEX deliveries_user ON deliveries (user_id, created_at DESC);

CREATE TABLE broadcasts (
    id uuid PRIMARY KEY,
    publisher text NOT NULL,
    room text NOT NULL,
    event text NOT NULL,
    payload jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE idempotency_keys (
    subject text NOT NULL,
    route text NOT NULL,
    key text NOT NULL,
    body_hash bytea NOT NULL,
    status int NOT NULL,
    response jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (subject, route, key)
);

CREATE TABLE inbox_events (
    event_id uuid PRIMARY KEY,
    event_type text NOT NULL,
    publisher text NOT NULL,
    payload jsonb NOT NULL,
    occurred_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    processed_at timestamptz,
    attempts int NOT NULL DEFAULT 0,
    error text
);

CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('event', 'emit')),
    key text NOT NULL,
    payload bytea NOT NULL,
    available_at timestamptz NOT NULL,
    published_at timestamptz
);
-- what the sweeper looks for, and whether an older row of the same key still waits
CREATE INDEX outbox_unpublished ON outbox (key, id) WHERE published_at IS NULL;
CREATE INDEX outbox_due ON outbox (available_at) WHERE published_at IS NULL;

CREATE TABLE refresh_tokens (
    jti uuid PRIMARY KEY,
    family_id uuid NOT NULL,
    user_id text NOT NULL REFERENCES users,
    issued_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    rotated_to uuid,
    revoked_at timestamptz,
    user_agent text,
    ip inet
);
CREATE INDEX refresh_tokens_user ON refresh_tokens (user_id) WHERE revoked_at IS NULL;

CREATE TABLE service_clients (
    id text PRIMARY KEY,
    name text NOT NULL,
    key_hash bytea NOT NULL,
    scopes text[] NOT NULL,
    room_prefixes text[] NOT NULL DEFAULT '{}',
    event_types text[] NOT NULL DEFAULT '{}',
    calls_per_min int NOT NULL DEFAULT 1000,
    items_per_min int NOT NULL DEFAULT 10000,
    created_at timestamptz NOT NULL DEFAULT now(),
    disabled_at timestamptz
);

CREATE TABLE suppressions (
    address text PRIMARY KEY,
    reason text NOT NULL CHECK (reason IN ('bounce', 'complaint', 'unsubscribe')),
    created_at timestamptz NOT NULL DEFAULT now()
);

-- S2-087 with the exact boxes of the source; C36: whatever matches no box is `default`
INSERT INTO regions (code, name, lat_min, lat_max, lng_min, lng_max) VALUES
    ('jeju', '제주', 33.1, 33.6, 126.1, 126.9),
    ('busan', '부산', 35.0, 35.3, 128.9, 129.3),
    ('default', '전국', NULL, NULL, NULL, NULL);
