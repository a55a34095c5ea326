-- Read what channels have kept, as one consistent cut.  Needs no write.
--
-- KEYS  clock, then streams
-- ARGV  for each stream, the id after which to read, the last one ('+': all), and how many of the newest of those
--       ('': all)
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
    local after, last, count = ARGV[3 * at - 5], ARGV[3 * at - 4], ARGV[3 * at - 3]
    local entries
    if count == '' then
        entries = redis.call('XRANGE', KEYS[at], '(' .. after, last)
    else
        entries = redis.call('XREVRANGE', KEYS[at], last, '(' .. after, 'COUNT', count)
        for each = 1, math.floor(#entries / 2) do
            local other = #entries + 1 - each
            entries[each], entries[other] = entries[other], entries[each]
        end
    end
    local before = ''
    if #entries == 0 then
        local next = last ~= '+' and redis.call('XRANGE', KEYS[at], '(' .. after, '+', 'COUNT', 1)[1]
        local newest = not next and redis.call('XREVRANGE', KEYS[at], '+', '-', 'COUNT', 1)[1]
        before = next and next[2][2] or newest and newest[1] or '-'
    end
    answer[#answer + 1] = { entries, before }
end
return answer
