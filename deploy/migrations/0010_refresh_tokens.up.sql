-- phase: before
-- Of a refresh token only its hash is kept: whoever reads the table can use none of them. Tokens
-- from before have no hash and are refused; their people sign in again.
ALTER TABLE refresh_tokens ADD COLUMN token_hash bytea;
-- a token that was used twice ends all that came of the same login
CREATE INDEX refresh_tokens_family ON refresh_tokens (family_id);
