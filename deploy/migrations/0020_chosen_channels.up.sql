-- phase: before
-- The channels that a service wants a notification tried on; null where every one of its kind may be.
ALTER TABLE notifications ADD COLUMN channels text[];
