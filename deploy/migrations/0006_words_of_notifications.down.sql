ALTER TABLE notifications DROP COLUMN words;
