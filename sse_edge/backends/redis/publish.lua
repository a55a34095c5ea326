-- Number, keep and announce events, all in one step.
--
-- KEYS  clock, then every stream and dedupe key that the events name by their place in KEYS
-- ARGV  the announcing command (PUBLISH or SPUBLISH), the settings' version as the publisher knows it, then
--       for each event: announce channel, body, how many events and ms of its channel are kept, stream
--       (place in KEYS), dedupe key (place, or 0)
-- Returns {tag, {id, …}, error or '', 1 if the event after those may have happened in part, else 0}, or only
-- the settings where the publisher knows others.

if known_of('version', '') ~= ARGV[2] then
    return { known_of('settings', '') }
end
local announce, ids = ARGV[1], {}

-- Whether something of the event that is being published was done already: what refuses the rest comes too
-- late for the event not to have happened.
local in_part = 0

-- One event's id.
local function publish(channel, body, count, ttl, stream, dedupe)
    local published = dedupe and redis.call('GET', dedupe)
    if published then
        return published
    end
    -- The channel's previous id lets a worker see that an announcement went missing.  '-': unknown.
    local newest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
    local previous = newest and newest[1] or '-'
    if newest then
        -- Ids that rise, also where the clock was lost and its streams were not.
        local ms, n = string.match(previous, '^(%d+)-(%d+)$')
        ms, n = tonumber(ms), tonumber(n)
        if ms > last_ms or (ms == last_ms and n > last_n) then
            last_ms, last_n = ms, n
        end
    end
    if redis.acl_check_cmd and not redis.acl_check_cmd(announce, channel, '') then
        error('NOPERM no permission to ' .. announce .. ' on ' .. channel)
    end
    local event = next_id()
    redis.call('HSET', clock, 'last', event)
    redis.call('XADD', stream, 'MAXLEN', count, event, 'p', previous, 'b', body)
    in_part = 1
    redis.call('PEXPIRE', stream, ttl)
    if dedupe then
        redis.call('SET', dedupe, event, 'PX', ttl)
    end
    redis.call(announce, channel, seal .. ' ' .. event .. ' ' .. previous .. '\n' .. body)
    in_part = 0
    return event
end

for at = 3, #ARGV, 6 do
    local done, event = pcall(publish, ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3],
        KEYS[tonumber(ARGV[at + 4])], KEYS[tonumber(ARGV[at + 5])])
    if not done then
        -- What is raised is a table or, since Redis 7 and for pcall, its text.
        return { tag, ids, type(event) == 'table' and event.err or event, in_part }
    end
    ids[#ids + 1] = event
end
return { tag, ids, '', 0 }
