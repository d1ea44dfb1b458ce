-- Writes one event for other services, once.
-- KEYS: the stream, published:{id}.
-- ARGV: entries of the stream, s an id is remembered, the event.
-- Answers the entry's id, or false for an event that was written before.
--
-- Unlike what goes to sockets, an entry outlives an epoch of Redis: where the mark is still there,
-- the entry is, for both were written at one moment.
if not redis.call('SET', KEYS[2], '1', 'EX', ARGV[2], 'NX') then
  return false
end
return redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'e', ARGV[3])
