-- Ask who writes to a channel to stop.
--
-- KEYS  see writers.lua
-- ARGV  the channel
-- Returns whether anybody does: 1 or 0.

local token, _, doubted = writer_of(ARGV[1])
if token then
    redis.call('HSET', writing, ARGV[1], table.concat({ token, '1', doubted }, ' '))
end
return token and 1 or 0
