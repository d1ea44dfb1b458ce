-- phase: before
-- Quiet hours have a beginning and an end, or there are none.
ALTER TABLE notification_preferences ADD CONSTRAINT notification_preferences_quiet
    CHECK ((quiet_from IS NULL) = (quiet_to IS NULL));

-- who follows a hashtag
CREATE INDEX notification_preferences_hashtags ON notification_preferences
    USING gin (followed_hashtags);
