-- Count a hit in windows that slide along.
--
-- In key (a string: number of the window, hits in it, hits in the one before), of which each is so long (ms)
-- and allows limit; the hit takes amount (0: only look).
-- Returns nil if it was allowed and counted, else {hits in the window before, how long they still weigh
-- (ms), hits in the window, how long they still weigh (ms)}.
--
-- Windows begin at multiples of their length.  What the window before held weighs less the more of the
-- present one has passed.

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function hit(key, limit, length, amount)
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
        return nil
    end
    return { previous, previous > 0 and left or 0, current, left + length }
end
