-- phase: before
-- Who says that they are answering an urgent question, and until when: k places a question, taken
-- and freed while its row is locked.
CREATE TABLE question_claims (
    question_id text NOT NULL REFERENCES questions,
    user_id text NOT NULL REFERENCES users,
    claimed_at timestamptz NOT NULL,
    lease_until timestamptz NOT NULL,
    released_at timestamptz,
    PRIMARY KEY (question_id, user_id)
);
-- the rooms of somebody who connects
CREATE INDEX question_claims_user ON question_claims (user_id, claimed_at DESC)
    WHERE released_at IS NULL;

-- open urgent questions of a region, for a socket that enters its room
CREATE INDEX questions_urgent_region ON questions (region_code, deadline_at)
    WHERE urgency = 'urgent' AND status = 'active';
