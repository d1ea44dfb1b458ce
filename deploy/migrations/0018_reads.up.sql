-- phase: before
-- What lists, search and popularity stand on: likes, an order for each sort, and the pieces of words.

ALTER TABLE questions ADD COLUMN like_count int NOT NULL DEFAULT 0;
-- when another service, or the asker, last changed its words: an older event changes nothing
ALTER TABLE questions ADD COLUMN edited_at timestamptz;

CREATE TABLE question_likes (
    question_id text NOT NULL REFERENCES questions,
    user_id text NOT NULL REFERENCES users,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (question_id, user_id)
);

-- Names in the functions are bound when they are made: PostgreSQL 17 builds an index with no
-- search_path.
--
-- The form under which a text is searched: that of protocol/normal.py, without any space, since
-- Korean is written with and without. It is the same for a text and for its normal form (a test
-- compares both for the letters of many scripts), so a search may bring either.
CREATE FUNCTION search_form(t text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN replace(normalize(replace(normalize(regexp_replace(
        translate(lower(upper(replace(normalize(t, NFKC), 'İ', E'i\u0307'))), 'ς', 'σ'),
        '[\s\u001c-\u001f\u0085\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f'
        '\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8'
        '\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+', '', 'g'),
        NFKD), E'\u0345', 'ι'), NFC), 'ß', 'ss');

-- Every letter of a text and every two that stand side by side, each once. Dear, and said so, that
-- the planner asks the index first.
CREATE FUNCTION search_grams(t text) RETURNS text[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 10000
BEGIN ATOMIC
    SELECT coalesce(array_agg(DISTINCT gram), '{}')
    FROM (SELECT letter, letter || lead(letter) OVER (ORDER BY place) AS pair
          FROM string_to_table(search_form(t), NULL) WITH ORDINALITY AS one (letter, place)) two,
        LATERAL (VALUES (letter), (pair)) AS piece (gram)
    WHERE gram IS NOT NULL;
END;

-- Of hashtags, each by itself.
CREATE FUNCTION search_grams(tags text[]) RETURNS text[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 10000
BEGIN ATOMIC
    SELECT coalesce(array_agg(DISTINCT gram), '{}')
    FROM unnest(tags) AS tag, unnest(search_grams(tag)) AS gram;
END;

-- What a text must hold that has all these words: their pairs, and words of one letter.
CREATE FUNCTION wanted_grams(words text[]) RETURNS text[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
    SELECT coalesce(array_agg(DISTINCT gram), '{}')
    FROM unnest(words) AS word, unnest(search_grams(word)) AS gram
    WHERE length(gram) = 2 OR length(search_form(word)) = 1;
END;

-- Korean search without an extension. No pending list: a search would walk it from end to end.
CREATE INDEX questions_words ON questions
    USING gin (search_grams(title || ' ' || content)) WITH (fastupdate = off);
CREATE INDEX questions_tag_words ON questions
    USING gin (search_grams(hashtags)) WITH (fastupdate = off);

-- lists, newest first and most popular first
CREATE INDEX questions_newest ON questions (created_at DESC, id DESC) WHERE status = 'active';
CREATE INDEX questions_region_newest ON questions (region_code, created_at DESC, id DESC)
    WHERE status = 'active';
CREATE INDEX questions_popular
    ON questions ((answer_count + like_count) DESC, created_at DESC, id DESC)
    WHERE status = 'active';
-- open urgent ones, which come first where they are asked for first
CREATE INDEX questions_urgent_waiting ON questions (deadline_at)
    WHERE urgency = 'urgent' AND status = 'active' AND first_answer_at IS NULL;
-- hashtags of the last 24 hours
CREATE INDEX questions_recent ON questions (created_at) WHERE status <> 'deleted';
