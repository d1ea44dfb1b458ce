-- How many living entries each sorted set holds. KEYS: the sets, scored by expiry.
local now = '(' .. redis.call('TIME')[1]
local counts = {}
for i = 1, #KEYS do
  counts[i] = redis.call('ZCOUNT', KEYS[i], now, '+inf')
end
return counts
