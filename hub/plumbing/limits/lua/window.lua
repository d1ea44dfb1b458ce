-- Sliding windows: KEYS; for each of them in ARGV limit, window in µs, weight. For each of them
-- {allowed, remaining, retry after ms}.
-- One member for each allowed call, '<µs>:<weight>', scored by its time. The member 'used' carries
-- the sum of their weights as a negative score, so no range of times ever meets it.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local latest = {}  -- of the calls above: all of this script happen in one microsecond

local function check(key, limit, window, weight)
  local used = -tonumber(redis.call('ZSCORE', key, 'used') or 0)
  local past = redis.call('ZRANGEBYSCORE', key, '(0', now - window)
  for _, member in ipairs(past) do
    used = used - tonumber(string.match(member, ':(%d+)$'))
  end
  if #past > 0 then
    redis.call('ZREMRANGEBYSCORE', key, '(0', now - window)
  end

  if used + weight <= limit then
    local at = math.max(now, (latest[key] or 0) + 1)
    while redis.call('ZADD', key, 'NX', at, string.format('%.0f:%d', at, weight)) == 0 do
      at = at + 1
    end
    latest[key] = at
    redis.call('ZADD', key, -(used + weight), 'used')
    redis.call('PEXPIRE', key, math.ceil(window / 1000) + 1)
    return {1, limit - used - weight, 0}
  end

  if #past > 0 then
    redis.call('ZADD', key, -used, 'used')
  end
  if weight > limit then
    return {0, math.max(0, limit - used), math.ceil(window / 1000)}
  end
  local lacking = used + weight - limit
  local oldest = redis.call('ZRANGEBYSCORE', key, '(0', '+inf', 'WITHSCORES', 'LIMIT', 0, lacking)
  for i = 1, #oldest, 2 do
    lacking = lacking - tonumber(string.match(oldest[i], ':(%d+)$'))
    if lacking <= 0 then
      local wait = tonumber(oldest[i + 1]) + window - now
      return {0, math.max(0, limit - used), math.max(1, math.ceil(wait / 1000))}
    end
  end
  return {0, math.max(0, limit - used), math.ceil(window / 1000)}
end

local answers = {}
for i, key in ipairs(KEYS) do
  local a = 3 * (i - 1)
  answers[i] = check(key, tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2]), tonumber(ARGV[a + 3]))
end
return answers
