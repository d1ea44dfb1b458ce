-- One node says that it no longer holds a person in a place; another node may.
-- KEYS: the place, its seats, the nodes. ARGV: node, person.
-- Answers how many people are there, and 1 when this person is not there any more.
local now = redis.call('TIME')[1]
redis.call('ZREM', KEYS[2], ARGV[1] .. ' ' .. ARGV[2])
local best = 0
local gone = 0
for _, node in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. now, '+inf')) do
  local expiry = redis.call('ZSCORE', KEYS[2], node .. ' ' .. ARGV[2])
  best = math.max(best, tonumber(expiry) or 0)
end
if best > tonumber(now) then
  redis.call('ZADD', KEYS[1], best, ARGV[2])
else
  gone = redis.call('ZREM', KEYS[1], ARGV[2])
end
return {redis.call('ZCOUNT', KEYS[1], '(' .. now, '+inf'), gone}
