-- Count many hits in one step; hit.lua is in front of this.
--
-- KEYS  for each hit what it counts in
-- ARGV  for each hit: how many a window allows, its length (ms), how many this hit takes (0: only look)
-- Returns for each hit 1 if it was allowed and counted, else how full the windows are.

local answer = {}
for place, key in ipairs(KEYS) do
    local limit, length, amount = tonumber(ARGV[3 * place - 2]), tonumber(ARGV[3 * place - 1]), tonumber(ARGV[3 * place])
    answer[place] = hit(key, limit, length, amount) or 1
end
return answer
