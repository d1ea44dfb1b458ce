-- phase: before
-- When each field of a person was last told, by the time of the fact: an older event that arrives
-- later changes nothing. A field without a row was told by nobody.
CREATE TABLE user_facts (
    user_id text NOT NULL REFERENCES users,
    field text NOT NULL,
    occurred_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, field)
);

INSERT INTO user_facts (user_id, field, occurred_at)
    SELECT e.payload->>'userId', told.field, max(e.occurred_at) FROM inbox_events e
    CROSS JOIN LATERAL (
        SELECT CASE key WHEN 'regionCode' THEN 'region_code'
            WHEN 'isLocalVerified' THEN 'is_local_verified'
            WHEN 'locationConsentAt' THEN 'location_consent_at' ELSE key END AS field
        FROM jsonb_each(e.payload) WHERE key IN ('nickname', 'email', 'regionCode',
            'isLocalVerified', 'role', 'locationConsentAt') AND value <> 'null'
        UNION SELECT 'registered' WHERE e.event_type = 'user.registered') told
    WHERE e.event_type IN ('user.registered', 'user.updated') AND e.processed_at IS NOT NULL
        AND EXISTS (SELECT FROM users u WHERE u.id = e.payload->>'userId')
    GROUP BY 1, 2;

-- Answers and acceptances of before this moment are still taken.
ALTER TABLE questions ADD COLUMN closed_at timestamptz;
UPDATE questions SET closed_at = updated_at WHERE status <> 'active';

-- Hashtags of one word in two normal forms become one (macOS writes Korean decomposed).
UPDATE questions SET hashtags = ARRAY(
        SELECT normalize(tag, NFC) FROM unnest(hashtags) WITH ORDINALITY AS t (tag, n)
        GROUP BY 1 ORDER BY min(n))
    WHERE EXISTS (SELECT FROM unnest(hashtags) AS tag WHERE tag IS NOT NFC NORMALIZED);

-- what is unread no longer, because its time is over
CREATE INDEX notifications_expiring ON notifications (user_id, expires_at)
    WHERE read_at IS NULL AND deleted_at IS NULL;
