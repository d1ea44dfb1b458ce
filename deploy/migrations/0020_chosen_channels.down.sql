ALTER TABLE notifications DROP COLUMN channels;
