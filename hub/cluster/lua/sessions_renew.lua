-- Renews sessions. KEYS: session:{pid} and sessions:{user} of each. ARGV: s they are kept, then
-- the pids.
local expiry = redis.call('TIME')[1] + ARGV[1]
for i = 1, #KEYS, 2 do
  if redis.call('EXPIRE', KEYS[i], ARGV[1]) == 1 then
    redis.call('ZADD', KEYS[i + 1], expiry, ARGV[(i + 3) / 2])
    redis.call('EXPIRE', KEYS[i + 1], ARGV[1])
  end
end
