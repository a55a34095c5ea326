-- Announce events that nothing numbers or keeps.
--
-- KEYS  clock
-- ARGV  the announcing command (PUBLISH or SPUBLISH), the settings' version as the publisher knows it, then
--       for each step: how many events, and for each of these its announce channel and body
-- Returns {'', for each event '' or {error, 0}}; of a step nothing comes after an error.  Or as publish.lua, where
-- the publisher knows other settings, and where no data set has begun.

if not tag then
    return {}
end
if version ~= ARGV[2] then
    return { redis.call('HGET', clock, 'settings') or '' }
end
local head = seal .. ' - -\n'
local answer, at = { '' }, 3
while ARGV[at] do
    local after = at + 1 + 2 * tonumber(ARGV[at])
    for each = at + 1, after - 1, 2 do
        local told = redis.pcall(ARGV[1], ARGV[each], head .. ARGV[each + 1])
        if type(told) == 'table' and told.err then
            answer[#answer + 1] = { told.err, 0 }
            break
        end
        answer[#answer + 1] = ''
    end
    at = after
end
return answer
