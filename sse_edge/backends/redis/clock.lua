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
--   steady    the id up to which a stream may live for another time than its newest event says
--   settings  how much history is kept, as JSON, and `version`, a short hash of it
--   changed   the id up to which other settings held, and `shortest`, the shortest time in ms for which
--             a channel's history was kept by them
--
-- Ids are <ms>-<n> of this server's time and rise over all channels, also when its clock steps back:
-- then the newest millisecond goes on being used.  n is 0 for a cursor, and 1 or more for an event.

local clock = KEYS[1]
local known = redis.call('HGET', clock, 'last')
local tag, seal = redis.call('HGET', clock, 'tag'), redis.call('HGET', clock, 'seal')
local version = redis.call('HGET', clock, 'version') or ''
local last_ms, last_n = 0, 0
if known then
    local ms, n = string.match(known, '^(%d+)-(%d+)$')
    last_ms, last_n = tonumber(ms), tonumber(n)
end

local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
