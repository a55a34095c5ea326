-- Read what channels have kept, as one consistent cut.  Needs no write.
--
-- KEYS  clock, then streams
-- ARGV  for each stream, the id after which to read, and the last one ('+': all)
-- Returns {cursor, tag, epoch, evicted, stuck, settings, changed, shortest,
--          {{{id, {fields}}, …}, where there are none of those: the channel's last event before, or '-'}, …}

local epoch, is_new = judge()
local upto, evicted = cursor(), known_of('evicted', '0-0')
local evictions = server_says('stats', 'evicted_keys')
-- Keys were evicted, and who knows which.
if known_of('evictions', '0') ~= evictions then
    if not is_new or evictions ~= '0' then
        evicted = upto
    end
    note('evictions', evictions, 'evicted', evicted)
end

local answer = { upto, tag, epoch, evicted, known_of('stuck', '0-0'), known_of('settings', ''),
    known_of('changed', '0-0'), known_of('shortest', '0') }
for at = 2, #KEYS do
    local after, last = ARGV[2 * at - 3], ARGV[2 * at - 2]
    local entries = redis.call('XRANGE', KEYS[at], '(' .. after, last)
    local before = ''
    if #entries == 0 then
        local next = last ~= '+' and redis.call('XRANGE', KEYS[at], '(' .. after, '+', 'COUNT', 1)[1]
        local newest = not next and redis.call('XREVRANGE', KEYS[at], '+', '-', 'COUNT', 1)[1]
        before = next and next[2][2] or newest and newest[1] or '-'
    end
    answer[#answer + 1] = { entries, before }
end
return answer
