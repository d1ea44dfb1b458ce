-- Sends a node a message through its own channel, with where the log stands.
-- KEYS: epoch. ARGV: channel, text.
local offset = current_offset(KEYS[1])
redis.call('PUBLISH', ARGV[1], ARGV[2] .. ' ' .. offset)
return offset
