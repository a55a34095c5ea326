-- Announce a cursor to one worker.  When it arrives, everything numbered before it has arrived too,
-- because it travels on the same connection.  Needs no write.
--
-- KEYS  clock, then streams of which is announced, too, which are finished: the place of each among them and the
--       id of its last event
-- ARGV  the announcing command (PUBLISH or SPUBLISH), the worker's own channel, a mark to give back
-- Returns what this server says to writes while it takes none, or ''.

judge()
local place = cursor()
-- A server that is synchronised with another one, or becomes a primary, goes on with another history.
local history = server_says('replication', 'master_replid') or '-'
local finished = {}
for at = 2, #KEYS do
    local entry = redis.call('XREVRANGE', KEYS[at], '+', '-', 'COUNT', 1)[1]
    if entry and string.sub(entry[2][4], -13) == '\n: finished\n\n' then
        finished[#finished + 1] = string.format('%d:%s', at - 2, entry[1])
    end
end
-- The clock's own time, too: a place may be ahead of it.
local said = { ARGV[3], place, tag, seal, known_of('version', '-'), history, string.format('%.0f', now_ms),
    table.concat(finished, ',') }
redis.call(ARGV[1], ARGV[2], table.concat(said, ' '))
return refusal or ''
