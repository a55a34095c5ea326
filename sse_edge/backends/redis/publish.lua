-- Number, keep and announce events, all in one step.
--
-- KEYS  clock, then every stream and dedupe key that the events name by their place in KEYS
-- ARGV  history (events per channel), history_ttl (ms), the announcing command (PUBLISH or SPUBLISH),
--       then for each event: announce channel, body, stream (place in KEYS), dedupe key (place, or 0)
-- Returns the ids, in order.

local history, ttl, announce = ARGV[1], ARGV[2], ARGV[3]
local ids = {}

for at = 4, #ARGV, 4 do
    local channel, body = ARGV[at], ARGV[at + 1]
    local stream, dedupe = KEYS[tonumber(ARGV[at + 2])], KEYS[tonumber(ARGV[at + 3])]
    local published = dedupe and redis.call('GET', dedupe)
    if published then
        ids[#ids + 1] = published
    else
        -- The channel's previous id lets a worker see that an announcement went missing.  '-': unknown.
        local newest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
        local previous = newest and newest[1] or '-'
        local event = next_id()
        redis.call('XADD', stream, 'MAXLEN', history, event, 'p', previous, 'b', body)
        redis.call('PEXPIRE', stream, ttl)
        redis.call('HSET', clock, 'last', event)
        if dedupe then
            redis.call('SET', dedupe, event, 'PX', ttl)
        end
        redis.call(announce, channel, event .. ' ' .. previous .. '\n' .. body)
        ids[#ids + 1] = event
    end
end

local shortest = redis.call('HGET', clock, 'ttl')
if not shortest or tonumber(shortest) > tonumber(ttl) then
    redis.call('HSET', clock, 'ttl', ttl)
end
return ids
