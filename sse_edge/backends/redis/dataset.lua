-- Shared by the scripts that do more than publish: where a data set begins, and cursors in it.

local function known_of(field, default)
    return redis.call('HGET', clock, field) or default
end

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
