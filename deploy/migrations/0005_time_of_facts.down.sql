DROP INDEX notifications_expiring;
ALTER TABLE questions DROP COLUMN closed_at;
DROP TABLE user_facts;
