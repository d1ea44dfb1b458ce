-- The connection of a session ended. KEYS: session:{pid}, sessions:{user}.
-- ARGV: owner, pid, s it is still kept (0: it is over).
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then
  return 0
end
if ARGV[3] == '0' then
  redis.call('DEL', KEYS[1])
  redis.call('ZREM', KEYS[2], ARGV[2])
else
  redis.call('HSET', KEYS[1], 'owner', '')
  redis.call('EXPIRE', KEYS[1], ARGV[3])
  redis.call('ZADD', KEYS[2], 'XX', redis.call('TIME')[1] + ARGV[3], ARGV[2])
end
return 1
