-- Say that writers live, or end one.
--
-- KEYS  see writers.lua
-- ARGV  their life (ms; '0': they end), then for each its channel and token
-- Returns for each 'holds', 'stops', 'lost', or 'absent': nobody is known to write there.

local life, answer = tonumber(ARGV[1]), {}
for at = 2, #ARGV, 2 do
    local channel = ARGV[at]
    local own, stops, doubted = writer_of(channel)
    local standing = stops == '1' and 'stops' or 'holds'
    if not own then
        standing = 'absent'
    elseif own ~= ARGV[at + 1] then
        standing = 'lost'
    elseif life == 0 then
        let_go(channel)
    elseif doubted == '1' then
        hold(channel, life, own, stops, '0')
    else
        redis.call('ZADD', writers, string.format('%.0f', now_ms + life), channel)
    end
    answer[#answer + 1] = standing
end
keep()
return answer
