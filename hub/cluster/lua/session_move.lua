-- Rooms a session gets and loses; nothing if another connection owns it by now.
-- KEYS: epoch, session:{pid}. ARGV: owner ('' for any, '-' for none), how many rooms it gets, these, then those
-- it loses. Answers where the log stands, or false when nothing was done. A room keeps the
-- position at which it was first joined.
local owner = redis.call('HGET', KEYS[2], 'owner')
local wanted = ARGV[1] == '-' and '' or ARGV[1] == '' and owner or ARGV[1]
if not owner or owner ~= wanted then
  return false
end
local gets = tonumber(ARGV[2])
local offset = current_offset(KEYS[1])
for i = 3, #ARGV do
  if i <= gets + 2 then
    redis.call('HSETNX', KEYS[2], 'r:' .. ARGV[i], offset)
  else
    redis.call('HDEL', KEYS[2], 'r:' .. ARGV[i])
  end
end
return offset
