-- Token bucket: KEYS[1]; ARGV capacity, refill a second, tokens kept back, tokens wanted.
-- 0 when they were taken, otherwise the ms after which they are there if nobody else comes.
local key, capacity, refill = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local needed = tonumber(ARGV[3]) + tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local kept = redis.call('HMGET', key, 'tokens', 'at')
local tokens, at = tonumber(kept[1] or capacity), tonumber(kept[2] or now)
tokens = math.min(capacity, tokens + math.max(0, now - at) * refill / 1000000)
if tokens < needed then
  return math.ceil((needed - tokens) / refill * 1000)
end
redis.call('HSET', key, 'tokens', string.format('%.9f', tokens - ARGV[4]),
  'at', string.format('%.0f', now))
redis.call('PEXPIRE', key, math.ceil(capacity / refill * 1000) + 1000)
return 0
