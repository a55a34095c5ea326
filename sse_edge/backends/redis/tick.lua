-- Announce a cursor to one worker.  When it arrives, everything numbered before it has arrived too,
-- because it travels on the same connection.
--
-- KEYS  clock
-- ARGV  the announcing command (PUBLISH or SPUBLISH), the worker's own channel, a mark to give back
-- Returns how many connections were listening.

return redis.call(ARGV[1], ARGV[2], cursor() .. ' ' .. ARGV[3])
