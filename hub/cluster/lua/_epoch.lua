-- What the scripts share: the epoch and the number of the last event, as one offset.

local function offset_of(epoch, number)
  return epoch .. '-' .. string.format('%012.0f', number)
end

-- Replication is asynchronous: a promoted replica would give out numbers again that clients
-- already hold. Another run id (restart, promotion) therefore starts another epoch.
local function current_epoch(key)
  local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
  local state = redis.call('HMGET', key, 'run', 'epoch')
  if state[1] == run then
    return state[2]
  end
  local now = redis.call('TIME')
  local ms = now[1] * 1000 + math.floor(now[2] / 1000)
  local epoch = string.format('%013.0f', math.max(ms, (tonumber(state[2]) or 0) + 1))
  redis.call('HSET', key, 'run', run, 'epoch', epoch, 'number', 0)
  return epoch
end

-- Where the log stands now.
local function current_offset(key)
  local epoch = current_epoch(key)
  return offset_of(epoch, redis.call('HGET', key, 'number'))
end
