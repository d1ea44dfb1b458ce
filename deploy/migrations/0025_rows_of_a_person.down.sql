DROP INDEX question_claims_user;
CREATE INDEX question_claims_user ON question_claims (user_id, claimed_at DESC)
    WHERE released_at IS NULL;
DROP INDEX refresh_tokens_user;
CREATE INDEX refresh_tokens_user ON refresh_tokens (user_id) WHERE revoked_at IS NULL;
DROP INDEX devices_user;
CREATE INDEX devices_user ON devices (user_id) WHERE disabled_at IS NULL;
DROP INDEX reports_subject;
DROP INDEX question_likes_user;
DROP INDEX questions_user;
