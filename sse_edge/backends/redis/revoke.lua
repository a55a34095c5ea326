-- Remember a revoked session, and forget those whose cookies have expired.
--
-- KEYS  see lives.lua
-- ARGV  see lives.lua; then the session, and the end of its refusal (Unix seconds; '': when its cookie has
--       expired for certain)
-- Returns the end.

local session, till = ARGV[3], ARGV[4]
if till ~= '' then
    redis.call('ZADD', KEYS[1], 'GT', till, session)
else
    -- The time and not the end: a worker may say later that sessions live longer.
    redis.call('ZADD', KEYS[2], 'GT', now + 1, session)
    till = now + 1 + life
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now - life))
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
return tonumber(till)
