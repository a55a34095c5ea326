-- Take, correct and keep leases, for one worker, in one step.
--
-- KEYS  workers (a sorted set: worker → its last heartbeat), then every subject (a hash: worker → count)
-- ARGV  worker, heartbeat's life (ms), how many subjects' counts follow,
--       then this worker's own count of each subject, in the order of KEYS from the second on,
--       then for each request: how many subjects, and for each its place among the subjects and its cap
-- Returns {1 if this worker was known, else 0; then for each request 0, or the place of a subject that
-- is full}.
--
-- A worker's own count is always written as it is in the worker, never added to: so a lost answer, a
-- repeated call and lost data all come right by themselves.

local workers, worker, life = KEYS[1], ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local beat = redis.call('ZSCORE', workers, worker)
redis.call('ZADD', workers, now, worker)

-- Alive: a heartbeat that is neither too old nor, after the clock stepped back, too far ahead.
local alive = {}
local function is_alive(other)
    if alive[other] == nil then
        local score = tonumber(redis.call('ZSCORE', workers, other) or '-1')
        alive[other] = math.abs(now - score) <= life
    end
    return alive[other]
end

local own = {}
local subjects = tonumber(ARGV[3])
for place = 1, subjects do
    own[place] = tonumber(ARGV[3 + place])
end

-- What all others hold; fields of dead workers are removed on the way.
local others = {}
local function held_by_others(place)
    if others[place] == nil then
        local sum, key = 0, KEYS[1 + place]
        local fields = redis.call('HGETALL', key)
        for at = 1, #fields, 2 do
            if fields[at] ~= worker then
                if is_alive(fields[at]) then
                    sum = sum + tonumber(fields[at + 1])
                else
                    redis.call('HDEL', key, fields[at])
                end
            end
        end
        others[place] = sum
    end
    return others[place]
end

local answer = { (beat and math.abs(now - tonumber(beat)) <= life) and 1 or 0 }
local at = 4 + subjects
while at <= #ARGV do
    local count = tonumber(ARGV[at])
    local full = 0
    for n = 0, count - 1 do
        local place, cap = tonumber(ARGV[at + 1 + 2 * n]), tonumber(ARGV[at + 2 + 2 * n])
        if full == 0 and held_by_others(place) + own[place] >= cap then
            full = place
        end
    end
    if full == 0 then
        for n = 0, count - 1 do
            local place = tonumber(ARGV[at + 1 + 2 * n])
            own[place] = own[place] + 1
        end
    end
    answer[#answer + 1] = full
    at = at + 1 + 2 * count
end

for place = 1, subjects do
    local key = KEYS[1 + place]
    if own[place] > 0 then
        redis.call('HSET', key, worker, own[place])
        redis.call('PEXPIRE', key, 60 * life)
    else
        redis.call('HDEL', key, worker)
    end
end
redis.call('ZREMRANGEBYSCORE', workers, '-inf', now - 100 * life)
return answer
