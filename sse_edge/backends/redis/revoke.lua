-- Remember a revoked session, and forget those whose cookies have expired.
--
-- KEYS  revoked (a sorted set: session → the end of its cookie, Unix seconds)
-- ARGV  session, the end of its cookie (Unix seconds)

redis.call('ZADD', KEYS[1], 'GT', ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', redis.call('TIME')[1])
return 1
