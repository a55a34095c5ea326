-- Announce a cursor to one worker.  When it arrives, everything numbered before it has arrived too,
-- because it travels on the same connection.  Needs no write.
--
-- KEYS  clock
-- ARGV  the announcing command (PUBLISH or SPUBLISH), the worker's own channel, a mark to give back
-- Returns what this server says to writes while it takes none, or ''.

judge()
local place = cursor()
-- A server that is synchronised with another one, or becomes a primary, goes on with another history.
local history = server_says('replication', 'master_replid') or '-'
local said = { ARGV[3], place, tag, seal, known_of('version', '-'), history }
redis.call(ARGV[1], ARGV[2], table.concat(said, ' '))
return refusal or ''
