-- One node says that people are in a place, or are still there.
-- KEYS: the place, its seats. ARGV: s of the lease, node, then the people.
-- Answers how many people are there, and how many of these were not there before.
local now = redis.call('TIME')[1]
local expiry = now + ARGV[1]
local fresh = 0
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
for i = 3, #ARGV do
  fresh = fresh + redis.call('ZADD', KEYS[1], expiry, ARGV[i])
  redis.call('ZADD', KEYS[2], expiry, ARGV[2] .. ' ' .. ARGV[i])
end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
for i = 1, 2 do
  redis.call('EXPIRE', KEYS[i], ARGV[1])
end
return {redis.call('ZCARD', KEYS[1]), fresh}
