-- phase: before
-- The words of a question stand ready beside it, so that the newest can be looked through as fast as
-- they are read: a letter that half of all texts hold needs no index, and has none that would help.

-- The same form as before. A text of plain letters and syllables, as nearly all are, needs none of
-- what the others do: 5 µs for 75. Not STRICT, so that a statement holds it without a call.
CREATE OR REPLACE FUNCTION search_form(t text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN t ~ '^[ -~가-힣]*$' THEN replace(lower(t), ' ', '')
    ELSE replace(normalize(replace(normalize(regexp_replace(
        translate(lower(upper(replace(normalize(t, NFKC), 'İ', E'i\u0307'))), 'ς', 'σ'),
        '[\s\u001c-\u001f\u0085\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f'
        '\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8'
        '\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+', '', 'g'),
        NFKD), E'\u0345', 'ι'), NFC), 'ß', 'ss') END;

-- Every letter of a text and every two that stand side by side; an index takes each once itself.
CREATE OR REPLACE FUNCTION search_grams(t text) RETURNS text[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 10000
BEGIN ATOMIC
    SELECT letters || ARRAY(SELECT letters[place] || letters[place + 1]
        FROM generate_series(1, cardinality(letters) - 1) AS place)
    FROM string_to_array(search_form(t), NULL) AS letters;
END;

-- title, a space, content: each without any space of its own
ALTER TABLE questions ADD COLUMN words text NOT NULL
    GENERATED ALWAYS AS (search_form(title) || ' ' || search_form(content)) STORED;
