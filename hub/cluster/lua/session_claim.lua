-- Takes a session over for a new connection of the same person; who owned it is told to let go.
-- KEYS: session:{pid}, sessions:{user}. ARGV: user, namespace, new owner (`node token`), s it is
-- kept, prefix of node channels, pid, the command that tells. Answers the session's fields and values as they were, or false (no session, or
-- not theirs).
local found = redis.call('HMGET', KEYS[1], 'user', 'owner', 'namespace')
if found[1] ~= ARGV[1] or found[3] ~= ARGV[2] then
  return false
end
local fields = redis.call('HGETALL', KEYS[1])
redis.call('HSET', KEYS[1], 'owner', ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('ZADD', KEYS[2], redis.call('TIME')[1] + ARGV[4], ARGV[6])
redis.call('EXPIRE', KEYS[2], ARGV[4])
local node = string.match(found[2] or '', '^(%S+) ')
if node then
  redis.call(ARGV[7], ARGV[5] .. node, 'evict ' .. found[2])
end
return fields
