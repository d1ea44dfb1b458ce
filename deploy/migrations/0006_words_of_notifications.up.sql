-- phase: before
-- What the title and body of a notification of ours were made of, so that each device can be told
-- in its own language; null where a service wrote them.
ALTER TABLE notifications ADD COLUMN words jsonb;

-- Suppressed addresses are kept in the form in which they are compared.
WITH old AS (
    DELETE FROM suppressions
    WHERE address <> lower(regexp_replace(address, '^.*<([^<>]*)>$', '\1'))
    RETURNING lower(regexp_replace(address, '^.*<([^<>]*)>$', '\1')) AS address, reason, created_at
)
INSERT INTO suppressions (address, reason, created_at)
SELECT DISTINCT ON (address) address, reason, created_at FROM old ORDER BY address, created_at
ON CONFLICT DO NOTHING;
