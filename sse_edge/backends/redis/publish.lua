-- Number, keep and announce events, all in one call.
--
-- KEYS  clock, then the stream of every channel, then every dedupe key
-- ARGV  from the third on: how many channels and how many events there are; then for each channel: its
--       announce channel, how many events and ms of it are kept; then for each step: how many events, and for
--       each of these its channel (1 is the first), body, the place of its dedupe key in KEYS (0: it has none),
--       and '1' if it is its channel's last
-- Returns {tag, for each event its id, or {error, 1 if it may have happened in part, else 0}}; of a step nothing
-- comes after an error.  The error of a channel that has had its last event begins with FINISHED.
--
-- This is the one script that runs for every event.  Each function that is made costs about as much as a
-- command, hence only one.

local channels, left = tonumber(ARGV[3]), tonumber(ARGV[4])
local steady = redis.call('HGET', clock, 'steady')
if not steady then
    -- A new clock, or an earlier release's: nothing is known of the streams that are there.
    steady = known or '0-0'
    redis.pcall('HSET', clock, 'steady', steady)
end
steady = tonumber(string.match(steady, '^%d+'))

-- The newest id of each channel that had an event in this call, and of those that it finished.
local newest, finished = {}, {}

-- Ids of last_ms are noted as given out up to this n, so that one note does for all events of a call.
local noted = 0

-- Whether something of the event that is being published was done already: what refuses the rest comes too
-- late for the event not to have happened.
local in_part = 0

-- One event's id.
local function publish(place, body, dedupe, is_last)
    local known_as = dedupe and redis.call('GET', dedupe)
    local finishes = string.sub(body, -13) == '\n: finished\n\n'
    if known_as and not finishes then
        return known_as
    end
    local stream, at = KEYS[1 + place], 2 + 3 * place
    local channel, ttl = ARGV[at], tonumber(ARGV[at + 2])
    -- The channel's previous id lets a worker see that an announcement went missing.  '-': unknown.
    local previous, previous_ms, slack, is_over = newest[place], 0, 0, finished[place]
    if not previous then
        local entry = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
        previous, slack = entry and entry[1] or '-', math.ceil(ttl / 16)
        if entry then
            -- Ids that rise, also where the clock was lost and its streams were not.
            local ms, n = string.match(previous, '^(%d+)-(%d+)$')
            previous_ms, n = tonumber(ms), tonumber(n)
            -- A stream may live somewhat longer than its time; a channel is not finished for longer.
            is_over = string.sub(entry[2][4], -13) == '\n: finished\n\n' and now_ms - previous_ms <= ttl
            if previous_ms > last_ms or (previous_ms == last_ms and n > last_n) then
                last_ms, last_n, noted, steady = previous_ms, n, 0, previous_ms
            end
        end
        if redis.acl_check_cmd and not redis.acl_check_cmd(announce, channel, '') then
            error('NOPERM no permission to ' .. announce .. ' on ' .. channel)
        end
    end
    if known_as and is_over then
        return known_as -- and where the channel goes on since then, it is to be finished again
    end
    local reopens = body == ': reopened\n\n'
    if is_over and not reopens then
        error({ err = 'FINISHED ' .. channel .. ' has had its last event' })
    elseif reopens and not is_over then
        return previous
    end
    if now_ms > last_ms then
        last_ms, last_n, noted = now_ms, 0, 0
    end
    last_n = last_n + 1
    local event = string.format('%.0f-%d', last_ms, last_n)
    if last_n > noted then
        noted = last_n + left
        local upto = left == 0 and event or string.format('%.0f-%d', last_ms, noted)
        redis.call('HSET', clock, 'last', upto)
        if now_ms < last_ms then
            redis.call('HSET', clock, 'stuck', upto, 'steady', upto)
        end
    end
    if is_last then
        redis.call('XADD', stream, 'MAXLEN', ARGV[at + 1], event, 'p', previous, 'b', body)
    else
        redis.call('XADD', stream, event, 'p', previous, 'b', body)
    end
    in_part = 1
    -- A stream lives for its time after its newest event, and up to a sixteenth longer, so that not every event
    -- has to say so: the first one in each sixteenth does, and the first after all that said something else.
    if slack > 0 and (previous_ms <= steady or math.floor(previous_ms / slack) < math.floor(now_ms / slack)) then
        redis.call('PEXPIRE', stream, ttl + slack)
    end
    newest[place], finished[place] = event, finishes
    if dedupe then
        redis.call('SET', dedupe, event, 'PX', ttl)
    end
    redis.call(announce, channel, seal .. ' ' .. event .. ' ' .. previous .. '\n' .. body)
    in_part = 0
    return event
end

local answer, at = { tag }, 5 + 3 * channels
while ARGV[at] do
    local after = at + 1 + 4 * tonumber(ARGV[at])
    for each = at + 1, after - 1, 4 do
        left = left - 1
        local done, event = pcall(publish, tonumber(ARGV[each]), ARGV[each + 1],
            KEYS[tonumber(ARGV[each + 2])], ARGV[each + 3] == '1')
        if not done then
            -- What is raised is a table or, since Redis 7 and for pcall, its text.
            answer[#answer + 1] = { type(event) == 'table' and event.err or event, in_part }
            if in_part == 1 then
                steady, in_part = last_ms, 0
                redis.pcall('HSET', clock, 'steady', string.format('%.0f-%d', last_ms, last_n))
            end
            break
        end
        answer[#answer + 1] = event
    end
    at = after
end
return answer
