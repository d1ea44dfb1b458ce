-- What logs hold after given positions, and where the log stands, at one moment; then a message
-- with that moment to a node: whatever is published later arrives there after it.
-- KEYS: epoch, then logs. ARGV: the command that tells, channel, text, entries of one log at most, then the position
-- (exclusive) for each log. Answers offset, then {place of the log, entries} of those that hold
-- any.
local answer = {current_offset(KEYS[1])}
for i = 2, #KEYS do
  local entries = redis.call('XRANGE', KEYS[i], '(' .. ARGV[i + 3], '+', 'COUNT', ARGV[4])
  if #entries > 0 then
    answer[#answer + 1] = {i - 2, entries}
  end
end
redis.call(ARGV[1], ARGV[2], ARGV[3] .. ' ' .. answer[1])
return answer
