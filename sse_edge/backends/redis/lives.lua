-- Shared beginning of what is done with revoked sessions: how long a session can live.
--
-- KEYS  revoked (a sorted set: session → the end of its refusal), since (a sorted set: session → when it was
--       revoked, for as long as a session can live) and lives (a sorted set: the seconds that some worker's
--       sessions live → until when its word counts); all times in Unix seconds
-- ARGV  the seconds that count where no worker says any, then those of this worker's sessions ('0': it says
--       nothing)

local DAY = 86400

local now = tonumber(redis.call('TIME')[1])
local life = tonumber(ARGV[2])
if life > 0 then
    -- Cookies from before a change live on, and so does the word about them.  A server that takes no writes
    -- at the moment is told the next time.
    redis.pcall('ZADD', KEYS[3], 'GT', string.format('%.0f', now + life + DAY), ARGV[2])
end
for _, said in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], now, '+inf')) do
    life = math.max(life, tonumber(said))
end
if life == 0 then
    life = tonumber(ARGV[1])
end
