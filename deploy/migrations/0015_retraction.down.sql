DROP INDEX notifications_event;
ALTER TABLE deliveries DROP COLUMN retracted_at;
