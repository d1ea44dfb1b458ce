-- phase: before
-- By whom erasure finds a person's rows: those that are released, revoked and disabled, too.

CREATE INDEX questions_user ON questions (user_id);
CREATE INDEX question_likes_user ON question_likes (user_id);
CREATE INDEX reports_subject ON reports (subject_id);

DROP INDEX devices_user;
CREATE INDEX devices_user ON devices (user_id);
DROP INDEX refresh_tokens_user;
CREATE INDEX refresh_tokens_user ON refresh_tokens (user_id);
DROP INDEX question_claims_user;
CREATE INDEX question_claims_user ON question_claims (user_id, claimed_at DESC);
