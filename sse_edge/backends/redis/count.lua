-- How many streams there are over all workers, on a channel or of a user.  Needs no write.
--
-- KEYS  workers (see report.lua), then the hashes of some of them
-- ARGV  the field; then the name of the worker of each of those hashes
-- Returns {the sum over those that count, the names of all that count}

local names = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '+inf')
local counts, sum = {}, 0
for _, name in ipairs(names) do
    counts[name] = true
end
for at = 2, #KEYS do
    if counts[ARGV[at]] then
        -- A worker that was killed has no hash any more.
        sum = sum + tonumber(redis.call('HGET', KEYS[at], ARGV[1]) or '0')
    end
end
return { sum, names }
