-- Publishes one event and keeps it for recovery.
-- KEYS: epoch, published:{id}, then the log of each message.
-- ARGV: s an id is remembered, s a log lives after its last event, entries of a log,
--       then channel and ready-made message (all but the offset) of each log.
-- Answers the offset, or false for an id that this epoch has published before.

-- Replication is asynchronous: a promoted replica would give out numbers again that clients
-- already hold. Another run id (restart, promotion) therefore starts another epoch.
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local state = redis.call('HMGET', KEYS[1], 'run', 'epoch')
local epoch = state[2]
if state[1] ~= run then
  local now = redis.call('TIME')
  local ms = now[1] * 1000 + math.floor(now[2] / 1000)
  epoch = string.format('%013.0f', math.max(ms, (tonumber(epoch) or 0) + 1))
  redis.call('HSET', KEYS[1], 'run', run, 'epoch', epoch, 'number', 0)
end

-- What an older epoch published may have reached nobody, so only this epoch's ids count.
local seen = redis.call('SET', KEYS[2], epoch, 'EX', ARGV[1], 'NX', 'GET')
if seen == epoch then
  return false
end
if seen then
  redis.call('SET', KEYS[2], epoch, 'EX', ARGV[1])
end

local number = string.format('%012.0f', redis.call('HINCRBY', KEYS[1], 'number', 1))
local offset = epoch .. '-' .. number
for i = 3, #KEYS do
  local log, channel, message = KEYS[i], ARGV[2 * i - 2], ARGV[2 * i - 1]
  -- Each entry names the one before it: the first entry that is left tells how far back a
  -- trimmed log still reaches (max-deleted-entry-id is not set by trimming).
  local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
  redis.call('XADD', log, 'MAXLEN', '~', ARGV[3], offset, 'p', last and last[1] or '0-0', 'm', message)
  redis.call('EXPIRE', log, ARGV[2])
  redis.call('PUBLISH', channel, message .. offset)
end
return offset
