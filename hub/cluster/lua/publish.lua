-- Publishes one event and keeps it for recovery.
-- KEYS: epoch, published:{id}, then the log of each message.
-- ARGV: s an id is remembered, s a log lives after its last event, entries of a log, the command
--       that tells, how many bytes of a channel to leave out to tell it by PUBLISH, too (0: not),
--       then channel and ready-made message (all but the offset) of each log.
-- Answers the offset, or false for an id that this epoch has published before.
local epoch = current_epoch(KEYS[1])

-- What an older epoch published may have reached nobody, so only this epoch's ids count.
local seen = redis.call('SET', KEYS[2], epoch, 'EX', ARGV[1], 'NX', 'GET')
if seen == epoch then
  return false
end
if seen then
  redis.call('SET', KEYS[2], epoch, 'EX', ARGV[1])
end

local offset = offset_of(epoch, redis.call('HINCRBY', KEYS[1], 'number', 1))
for i = 3, #KEYS do
  local log, channel, message = KEYS[i], ARGV[2 * i], ARGV[2 * i + 1]
  -- Each entry names the one before it: the first entry that is left tells how far back a
  -- trimmed log still reaches (max-deleted-entry-id is not set by trimming).
  local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
  local before = last and last[1] or '0-0'
  redis.call('XADD', log, 'MAXLEN', '~', ARGV[3], offset, 'p', before, 'm', message)
  redis.call('EXPIRE', log, ARGV[2])
  redis.call(ARGV[4], channel, message .. offset)
  if ARGV[5] ~= '0' then
    redis.call('PUBLISH', string.sub(channel, ARGV[5] + 1), message .. offset)
  end
end
return offset
