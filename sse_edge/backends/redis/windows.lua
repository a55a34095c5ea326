-- Count hits in windows that slide along, many in one step.
--
-- KEYS  for each hit what it counts in (a string: number of the window, hits in it, hits in the one before)
-- ARGV  for each hit: how many a window allows, its length (ms), how many this hit takes (0: only look)
-- Returns for each hit 1 if it was allowed and counted, else {hits in the window before, how long they
-- still weigh (ms), hits in the window, how long they still weigh (ms)}.
--
-- Windows begin at multiples of their length.  What the window before held weighs less the more of the
-- present one has passed.

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local answer = {}
for place, key in ipairs(KEYS) do
    local limit, length, amount = tonumber(ARGV[3 * place - 2]), tonumber(ARGV[3 * place - 1]), tonumber(ARGV[3 * place])
    local window, left = math.floor(now / length), length - now % length
    local current, previous = 0, 0
    local kept = redis.call('GET', key)
    if kept then
        local last, hits, before = string.match(kept, '^(%d+) (%d+) (%d+)$')
        last = tonumber(last)
        if last >= window then -- also after the clock stepped back
            current, previous = tonumber(hits), tonumber(before)
        elseif last == window - 1 then
            previous = tonumber(hits)
        end
    end
    if amount > 0 and math.floor(previous * left / length) + current + amount <= limit then
        local value = string.format('%.0f %.0f %.0f', window, current + amount, previous)
        redis.call('SET', key, value, 'PX', left + length)
        answer[place] = 1
    else
        answer[place] = { previous, previous > 0 and left or 0, current, left + length }
    end
end
return answer
