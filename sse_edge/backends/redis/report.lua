-- Write how many streams of one worker there are on channels and of users, and that it lives.
--
-- KEYS  workers (a sorted set: name → its last heartbeat), this worker's own hash (channel or user →
--       count; report; told)
-- ARGV  the life of what is written (ms), the worker's name; the number of its report before, '' if this is the
--       first under that name, and of this one, the same if it says nothing; '1' if it counts from now on, and
--       a name that does not any more; then as JSON: fields and their counts in turn, fields without any, and
--       what it says of itself ('' if nothing)
-- Returns 1, or 0 and nothing is done: what is there is not what was reported.

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local workers, own, life = KEYS[1], KEYS[2], tonumber(ARGV[1])
if ARGV[3] ~= '' and redis.call('HGET', own, 'report') ~= ARGV[3] then
    return 0
end
local counts, gone = cjson.decode(ARGV[7]), cjson.decode(ARGV[8])
if ARGV[4] ~= ARGV[3] then
    redis.call('HSET', own, 'report', ARGV[4], unpack(counts))
end
if #gone > 0 then
    redis.call('HDEL', own, unpack(gone))
end
if ARGV[9] ~= '' then
    redis.call('HSET', own, 'told', ARGV[9])
end
redis.call('PEXPIRE', own, life)
if ARGV[5] == '1' then
    redis.call('ZADD', workers, now, ARGV[2])
end
if ARGV[6] ~= '' then
    redis.call('ZREM', workers, ARGV[6])
end
redis.call('ZREMRANGEBYSCORE', workers, '-inf', now - 2 * life)
return 1
