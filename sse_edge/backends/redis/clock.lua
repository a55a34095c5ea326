-- Shared beginning of every script: the order of events.
--
-- KEYS[1] is the clock, a hash:
--   last      the newest id given out
--   tag       letters that name this data set, told to clients in every id
--   seal      a secret that only who can read the clock can put on an announcement
--   epoch     the id before which this data set knows nothing
--   run       the server process that `epoch` was judged for, and `evictions`, how many keys it had
--             evicted by then
--   durable   '1' if a restart of the server loses nothing (appendfsync always, no failover)
--   evicted   the id up to which a stream that is absent may have been evicted
--   stuck     the newest id given out while this server's clock was behind the ids
--   settings  how much history is kept, as JSON, and `version`, a short hash of it
--   changed   the id up to which other settings held, and `shortest`, the shortest time in ms for which
--             a channel's history was kept by them
--
-- Ids are <ms>-<n> of this server's time and rise over all channels, also when its clock steps back:
-- then the newest millisecond goes on being used.  n is 0 for a cursor, and 1 or more for an event.

local clock = KEYS[1]
local last_ms, last_n = 0, 0
local function known_of(field, default)
    return redis.call('HGET', clock, field) or default
end

local known, tag, seal = known_of('last'), known_of('tag'), known_of('seal')
if known then
    local ms, n = string.match(known, '^(%d+)-(%d+)$')
    last_ms, last_n = tonumber(ms), tonumber(n)
end

local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function id()
    return string.format('%.0f-%.0f', last_ms, last_n)
end

local function server_says(section, field)
    return string.match(redis.call('INFO', section), field .. ':(%w+)')
end

-- Why this server takes no writes at the moment, or false.  What only notes something goes on without.
local refusal = false
local function note(...)
    local answer = redis.pcall('HSET', clock, ...)
    if type(answer) == 'table' and answer.err then
        refusal = answer.err
    end
end

-- A new name and a new secret for the data set.
local function name_anew()
    local run = server_says('server', 'run_id')
    -- math.random begins with the same number in every script; a server's run_id is not known outside.
    local function random(what)
        return redis.sha1hex(table.concat({ run, time[1], time[2], clock, what }, ' '))
    end
    tag = string.gsub(string.sub(random('tag'), 1, 5), '%x', function(digit)
        return string.char(string.byte('a') + tonumber(digit, 16))
    end)
    seal = string.sub(random('seal'), 1, 16)
    return run
end

if not tag then
    local run = name_anew()
    if not known then
        -- An empty data set: nothing before this moment is known.
        last_ms = now_ms
        redis.call('HSET', clock, 'last', id(), 'epoch', id(), 'run', run)
    end
    redis.call('HSET', clock, 'tag', tag, 'seal', seal, 'evictions', server_says('stats', 'evicted_keys'))
    if known then
        -- Of an earlier release: its history was kept as its publishers said, for `ttl` ms at least.
        redis.call('HSET', clock, 'changed', id(), 'shortest', known_of('ttl', '0'))
    end
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
        local before_ms, before_n = last_ms, last_n
        last_ms, last_n = now_ms, 0
        note('last', id())
        if refusal then
            -- While nothing can be written, nothing is published either: the newest id is as good.
            last_ms, last_n = before_ms, before_n
        end
    end
    return id()
end
