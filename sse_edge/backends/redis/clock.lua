-- Shared beginning of every script: the order of events.
--
-- KEYS[1] is the clock, a hash: `last` is the newest id given out, `epoch` the id before which this
-- data set knows nothing, `run` the server process that `epoch` was judged for, `ttl` the shortest
-- history_ttl in use, in milliseconds, `stuck` the newest id given out while this server's clock was
-- behind the ids.
--
-- Ids are <ms>-<n> of this server's time and rise over all channels, also when its clock steps back:
-- then the newest millisecond goes on being used.  n is 0 for a cursor, and 1 or more for an event.

local clock = KEYS[1]
local last_ms, last_n = 0, 0
local known = redis.call('HGET', clock, 'last')
if known then
    local ms, n = string.match(known, '^(%d+)-(%d+)$')
    last_ms, last_n = tonumber(ms), tonumber(n)
end

local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function id()
    return string.format('%.0f-%.0f', last_ms, last_n)
end

local function server_run()
    return string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
end

if not known then
    -- An empty data set: nothing before this moment is known.
    last_ms = now_ms
    redis.call('HSET', clock, 'last', id(), 'epoch', id(), 'run', server_run())
end

-- The next event's id.
local function next_id()
    if now_ms > last_ms then
        last_ms, last_n = now_ms, 1
    else
        last_n = last_n + 1
        if now_ms < last_ms then
            redis.call('HSET', clock, 'stuck', id())
        end
    end
    return id()
end

-- A place after every event so far and before every later one.
local function cursor()
    if now_ms > last_ms then
        last_ms, last_n = now_ms, 0
        redis.call('HSET', clock, 'last', id())
    end
    return id()
end
