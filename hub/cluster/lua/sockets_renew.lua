-- Renews leases of sockets. KEYS: presence:{user} of each. ARGV: s of the lease, then the members.
local expiry = redis.call('TIME')[1] + ARGV[1]
for i = 1, #KEYS do
  redis.call('ZADD', KEYS[i], expiry, ARGV[i + 1])
  redis.call('EXPIRE', KEYS[i], ARGV[1])
end
