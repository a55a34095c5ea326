-- Shared beginning of what is done about who writes to channels; clock.lua is in front of this.
--
-- KEYS  clock, writers (a sorted set: channel → until when (ms) its writer is taken to be alive, or its doubt
--       lasts), writing (a hash: channel → the writer's token, '1' if it is to stop, '1' if it is doubted; and
--       channel with \1 → the event that ends it should the writer die), dead (a sorted set: channel, \1 and the
--       token of a writer that was taken over → until when (ms) that is remembered), then what each script says

local writers, writing, dead = KEYS[2], KEYS[3], KEYS[4]
local DAY = 86400000

-- A channel's writer: its token, whether it is to stop and whether it is doubted; or nothing.
local function writer_of(channel)
    local held = redis.call('HGET', writing, channel)
    if held and redis.call('ZSCORE', writers, channel) then
        return string.match(held, '^(%S+) (%d) (%d)$')
    end
end

local function hold(channel, ms, token, stops, doubted)
    redis.call('ZADD', writers, string.format('%.0f', now_ms + ms), channel)
    redis.call('HSET', writing, channel, table.concat({ token, stops, doubted }, ' '))
end

local function let_go(channel)
    redis.call('ZREM', writers, channel)
    redis.call('HDEL', writing, channel, channel .. '\1')
end

-- Should nobody ever look for them, they leave by themselves.
local function keep()
    redis.call('PEXPIRE', writers, DAY)
    redis.call('PEXPIRE', writing, DAY)
    redis.call('PEXPIRE', dead, DAY)
end
