-- Forgets a person's older tokens, and those numbered; then tells every node.
-- KEYS: revoked:{user} where ARGV[1] is over 0, then blacklist:{jti} of each token.
-- ARGV: ms since 1970 before which tokens are worth nothing, s to remember it, channel, order.
--
-- An older word never goes over a newer one: whoever was revoked stays so. A node that hears the
-- order finds the keys written.
local first = 1
if tonumber(ARGV[1]) > 0 then
  first = 2
  if tonumber(ARGV[1]) > tonumber(redis.call('GET', KEYS[1]) or '0') then
    redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
  else
    redis.call('EXPIRE', KEYS[1], ARGV[2])
  end
end
for i = first, #KEYS do
  redis.call('SET', KEYS[i], '1', 'EX', ARGV[2])
end
redis.call('PUBLISH', ARGV[3], ARGV[4])
