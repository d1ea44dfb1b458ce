-- phase: before
-- what an epoch of Redis that ended had published last (REDIS_REPLAY_S)
CREATE INDEX outbox_published ON outbox (published_at) WHERE published_at IS NOT NULL;
