-- Announce events that nothing numbers or keeps.
--
-- KEYS  clock
-- ARGV  the announcing command (PUBLISH or SPUBLISH), the settings' version as the publisher knows it, then
--       for each event: announce channel, body
-- Returns {'', how many were announced, error or ''}, or only the settings where the publisher knows others.

if known_of('version', '') ~= ARGV[2] then
    return { known_of('settings', '') }
end
local head = seal .. ' - -\n'
for at = 3, #ARGV, 2 do
    local answer = redis.pcall(ARGV[1], ARGV[at], head .. ARGV[at + 1])
    if type(answer) == 'table' and answer.err then
        return { '', (at - 3) / 2, answer.err }
    end
end
return { '', (#ARGV - 2) / 2, '' }
