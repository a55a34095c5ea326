-- Announce events that nothing numbers or keeps.
--
-- ARGV  from the third on, for each step: how many events, and for each of these its announce channel and body
-- Returns {'', for each event '' or {error, 0}}; of a step nothing comes after an error.

local head = seal .. ' - -\n'
local answer, at = { '' }, 3
while ARGV[at] do
    local after = at + 1 + 2 * tonumber(ARGV[at])
    for each = at + 1, after - 1, 2 do
        local told = redis.pcall(announce, ARGV[each], head .. ARGV[each + 1])
        if type(told) == 'table' and told.err then
            answer[#answer + 1] = { told.err, 0 }
            break
        end
        answer[#answer + 1] = ''
    end
    at = after
end
return answer
