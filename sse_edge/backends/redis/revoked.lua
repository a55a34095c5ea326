-- Read some of the revoked sessions, those first whose cookies expire first.
--
-- KEYS  revoked (a sorted set: session → the end of its cookie, Unix seconds)
-- ARGV  how many at most, and from which end on (''; from now on)
-- Returns {session, end, …}

local from = ARGV[2] ~= '' and ARGV[2] or redis.call('TIME')[1]
return redis.call('ZRANGEBYSCORE', KEYS[1], from, '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[1])
