-- Keeps a new session from now on.
-- KEYS: epoch, session:{pid}, sessions:{user}. ARGV: s it is kept, pid, user, sid, namespace,
-- owner, data, how many a person may have, then its rooms. Answers the position it starts at, then
-- the pids that are too many: those that end first.
local offset = current_offset(KEYS[1])
redis.call('HSET', KEYS[2], 'user', ARGV[3], 'sid', ARGV[4], 'namespace', ARGV[5],
  'owner', ARGV[6], 'data', ARGV[7], 'at', offset)
for i = 9, #ARGV do
  redis.call('HSET', KEYS[2], 'r:' .. ARGV[i], offset)
end
redis.call('EXPIRE', KEYS[2], ARGV[1])
local now = redis.call('TIME')[1]
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
redis.call('ZADD', KEYS[3], now + ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[3], ARGV[1])
local answer = {offset}
local over = redis.call('ZCARD', KEYS[3]) - ARGV[8]
if over > 0 then
  local oldest = redis.call('ZRANGE', KEYS[3], 0, over - 1)
  redis.call('ZREM', KEYS[3], unpack(oldest))
  for i = 1, #oldest do
    answer[i + 1] = oldest[i]
  end
end
return answer
