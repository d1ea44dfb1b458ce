-- phase: before
-- What became of the notifications of a day, and how long they took to leave.
CREATE TABLE delivery_stats (
    day date NOT NULL,
    region_code text NOT NULL,
    kind text NOT NULL,
    channel text NOT NULL,
    sent int NOT NULL,
    delivered int NOT NULL,
    seen int NOT NULL,
    failed int NOT NULL,
    p50_ms int,
    p95_ms int,
    PRIMARY KEY (day, region_code, kind, channel)
);

-- How the urgent questions of a day were answered.
CREATE TABLE answer_stats (
    day date NOT NULL,
    region_code text NOT NULL,
    urgent_questions int NOT NULL,
    answered_in_target int NOT NULL,
    p50_s int,
    p95_s int,
    PRIMARY KEY (day, region_code)
);

CREATE TABLE digest_runs (
    run_date date NOT NULL,
    region_code text NOT NULL,
    recipients int NOT NULL DEFAULT 0,
    sent int NOT NULL DEFAULT 0,
    started_at timestamptz NOT NULL,
    finished_at timestamptz,
    PRIMARY KEY (run_date, region_code)
);

-- what retention looks for
CREATE INDEX notification_dedup_age ON notification_dedup (created_at);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);
CREATE INDEX inbox_events_age ON inbox_events (received_at);
CREATE INDEX question_recipients_age ON question_recipients (told_at);
CREATE INDEX inbox_events_payload ON inbox_events (processed_at) WHERE payload <> '{}';
CREATE INDEX questions_places ON questions (created_at) WHERE lat IS NOT NULL;
-- the questions of a day, over all regions
CREATE INDEX questions_age ON questions (created_at);
