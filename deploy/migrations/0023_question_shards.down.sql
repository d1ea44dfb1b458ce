DROP TABLE question_shards;
