-- session_replay
-- Notes from where a replay to this connection begins, and how often one has begun there before.
-- KEYS: session:{pid}. ARGV: owner, position, times.
if redis.call('HGET', KEYS[1], 'owner') == ARGV[1] then
  redis.call('HSET', KEYS[1], 'replay', ARGV[2] .. ' ' .. ARGV[3])
end
