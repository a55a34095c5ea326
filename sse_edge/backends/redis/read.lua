-- Read what channels have kept, as one consistent cut.
--
-- KEYS  clock, then streams
-- ARGV  '1' if a restart of this server loses nothing (appendfsync always), else '0';
--       then, for each stream, the id after which to read
-- Returns {cursor, epoch, shortest history_ttl (ms, or '-'), newest id while the clock was behind (or '0-0'),
--          {exists, {{id, {fields}}, …}}, …}

local upto = cursor()

-- A server process that we have not judged yet: what it loaded may lack the newest events.
local run = server_run()
if redis.call('HGET', clock, 'run') ~= run then
    redis.call('HSET', clock, 'run', run)
    if ARGV[1] == '0' then
        redis.call('HSET', clock, 'epoch', upto)
    end
end

local function known_of(field, default)
    return redis.call('HGET', clock, field) or default
end

local answer = { upto, known_of('epoch'), known_of('ttl', '-'), known_of('stuck', '0-0') }
for at = 2, #KEYS do
    local entries = redis.call('XRANGE', KEYS[at], '(' .. ARGV[at], '+')
    local exists = 1
    if #entries == 0 then
        exists = redis.call('EXISTS', KEYS[at])
    end
    answer[#answer + 1] = { exists, entries }
end
return answer
