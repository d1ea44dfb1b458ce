-- Token buckets: KEYS; for each of them in ARGV capacity, refill a second, tokens kept back, tokens
-- wanted. For each of them 0 when they were taken, otherwise the ms after which they are there if
-- nobody else comes.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function take(key, capacity, refill, kept_back, wanted)
  local kept = redis.call('HMGET', key, 'tokens', 'at')
  local tokens, at = tonumber(kept[1] or capacity), tonumber(kept[2] or now)
  tokens = math.min(capacity, tokens + math.max(0, now - at) * refill / 1000000)
  if tokens < kept_back + wanted then
    return math.ceil((kept_back + wanted - tokens) / refill * 1000)
  end
  redis.call('HSET', key, 'tokens', string.format('%.9f', tokens - wanted),
    'at', string.format('%.0f', now))
  redis.call('PEXPIRE', key, math.ceil(capacity / refill * 1000) + 1000)
  return 0
end

local answers = {}
for i, key in ipairs(KEYS) do
  local a = 4 * (i - 1)
  answers[i] = take(key, tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2]), tonumber(ARGV[a + 3]),
    tonumber(ARGV[a + 4]))
end
return answers
