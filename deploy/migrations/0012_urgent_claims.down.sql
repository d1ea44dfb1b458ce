DROP INDEX questions_urgent_region;
DROP TABLE question_claims;
