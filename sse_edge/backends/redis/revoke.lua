-- Remember a revoked session, and forget those whose cookies have expired.
--
-- KEYS  revoked (a sorted set: session → the end of its cookie, Unix seconds)
-- ARGV  session, the end of its cookie (Unix seconds); or nothing, only to read
-- Returns {session, end, …}

local now = tonumber(redis.call('TIME')[1])
if ARGV[1] then
    redis.call('ZADD', KEYS[1], 'GT', ARGV[2], ARGV[1])
    redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
end
return redis.call('ZRANGEBYSCORE', KEYS[1], now, '+inf', 'WITHSCORES')
