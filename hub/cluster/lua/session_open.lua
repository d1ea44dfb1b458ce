-- Keeps a new session from now on.
-- KEYS: epoch, session:{pid}, sessions:{user}. ARGV: s it is kept, pid, user, sid, namespace,
-- owner, data, then its rooms. Answers the position it starts at.
local offset = current_offset(KEYS[1])
redis.call('HSET', KEYS[2], 'user', ARGV[3], 'sid', ARGV[4], 'namespace', ARGV[5],
  'owner', ARGV[6], 'data', ARGV[7], 'at', offset)
for i = 8, #ARGV do
  redis.call('HSET', KEYS[2], 'r:' .. ARGV[i], offset)
end
redis.call('EXPIRE', KEYS[2], ARGV[1])
redis.call('ZADD', KEYS[3], redis.call('TIME')[1] + ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[3], ARGV[1])
return offset
