-- Take writers over that died: those that did not say that they live, neither in time nor when they were doubted.
--
-- KEYS  see writers.lua
-- ARGV  the token of who takes them over, a writer's life (ms), how long one is doubted (ms), how many are looked
--       at and how many taken over at most
-- Returns {channel, the event that ends it, …}.
--
-- While this server or the way to it was away nobody could say anything; so a doubt is worth nothing unless it
-- was looked at soon after.

local life, doubt, count, left = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local late = redis.call('ZRANGEBYSCORE', writers, '-inf', now_ms, 'LIMIT', 0, count)
-- Of before the clock was set back.
local ahead = redis.call('ZRANGEBYSCORE', writers, now_ms + 2 * life, '+inf', 'LIMIT', 0, count)
for _, channel in ipairs(ahead) do
    late[#late + 1] = channel
end
redis.call('ZREMRANGEBYSCORE', dead, '-inf', now_ms)
local answer = {}
for _, channel in ipairs(late) do
    local token, stops, doubted = writer_of(channel)
    local last = redis.call('HGET', writing, channel .. '\1')
    local since = now_ms - tonumber(redis.call('ZSCORE', writers, channel))
    if not token or not last then
        let_go(channel)
    elseif doubted == '1' and since >= 0 and since <= 2 * doubt and left == 0 then
        hold(channel, 0, token, stops, '1') -- it was looked at soon after, and its turn comes in the next call
    elseif doubted == '1' and since >= 0 and since <= 2 * doubt then
        left = left - 1
        redis.call('ZADD', dead, string.format('%.0f', now_ms + DAY), channel .. '\1' .. token)
        hold(channel, doubt, ARGV[1], stops, '1')
        answer[#answer + 1] = channel
        answer[#answer + 1] = last
    else
        hold(channel, doubt, token, stops, '1')
    end
end
if #answer > 0 then
    keep()
end
return answer
