-- Notes a socket of a person. Answers its member of the set, then the members of the oldest
-- sockets over the limit, which lose their place at once (ghosts of a dead node lock nobody out).
-- KEYS: presence:{user}. ARGV: sid, s of the lease, sockets a person may hold.
local now = redis.call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
local member = string.format('%013.0f ', ms) .. ARGV[1]
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now[1])
redis.call('ZADD', KEYS[1], now[1] + ARGV[2], member)
redis.call('EXPIRE', KEYS[1], ARGV[2])
local answer = {member}
local over = redis.call('ZCARD', KEYS[1]) - ARGV[3]
if over > 0 then
  local sockets = redis.call('ZRANGE', KEYS[1], 0, -1)
  table.sort(sockets)
  for i = 1, over do
    redis.call('ZREM', KEYS[1], sockets[i])
    answer[i + 1] = sockets[i]
  end
end
return answer
