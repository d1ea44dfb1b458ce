-- Sends a node a message through its own channel, with where the log stands.
-- KEYS: epoch. ARGV: the command that tells, channel, text.
local offset = current_offset(KEYS[1])
redis.call(ARGV[1], ARGV[2], ARGV[3] .. ' ' .. offset)
return offset
