-- Begin to write to a channel, or see who does.
--
-- KEYS  see writers.lua; then the channel's stream
-- ARGV  the settings' version as the caller knows it, the channel, the writer's token ('': only look), its life
--       (ms), how many ms of the channel are kept, '1' if it may be reopened, the event that ends the channel
--       should the writer die
-- Returns {why not: 'writing', 'finished' or ''; the channel's newest id, or '0-0'}, or only the settings where
-- the caller knows others.

if version ~= ARGV[1] then
    return { redis.call('HGET', clock, 'settings') or '' }
end
local channel, token = ARGV[2], ARGV[3]
local newest = redis.call('XREVRANGE', KEYS[5], '+', '-', 'COUNT', 1)[1]
local finished = newest and string.sub(newest[2][4], -13) == '\n: finished\n\n'
    and now_ms - tonumber(string.match(newest[1], '^%d+')) <= tonumber(ARGV[5])
local refused, own = '', writer_of(channel)
if (own and own ~= token) or redis.call('ZSCORE', dead, channel .. '\1' .. token) then
    refused = 'writing' -- whoever was taken for dead, and stood still, does not come back
elseif finished and not own and ARGV[6] ~= '1' then
    refused = 'finished'
elseif token ~= '' and not own then
    hold(channel, ARGV[4], token, '0', '0')
    redis.call('HSET', writing, channel .. '\1', ARGV[7])
    keep()
end
return { refused, newest and newest[1] or '0-0' }
