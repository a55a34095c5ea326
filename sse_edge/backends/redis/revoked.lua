-- Read some of the revoked sessions, those first whose refusal ends first.
--
-- KEYS  see lives.lua
-- ARGV  see lives.lua; then which of the first two KEYS to read, how many sessions at most, and from which
--       time on ('': those that still count)
-- Returns {seconds to add to each time, {session, time, …}}.

local added = ARGV[3] == '2' and life or 0
local from = ARGV[5] ~= '' and ARGV[5] or string.format('%.0f', now - added)
local key = KEYS[tonumber(ARGV[3])]
return { added, redis.call('ZRANGEBYSCORE', key, from, '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[4]) }
