-- phase: before
-- When a phone was handed the silent message that takes a push back.
ALTER TABLE deliveries ADD COLUMN retracted_at timestamptz;

-- what an event of another service told people (GET /explain)
CREATE INDEX notifications_event ON notifications (event_id) WHERE event_id IS NOT NULL;
