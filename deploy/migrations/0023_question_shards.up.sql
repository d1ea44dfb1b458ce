-- phase: before
-- Questions that were handed to the database of another region: what is told of them later follows.
CREATE TABLE question_shards (
    question_id text PRIMARY KEY,
    region_code text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
