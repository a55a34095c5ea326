-- Take, correct and keep leases, for one worker, in one step; hit.lua is in front of this.
--
-- KEYS  workers (a sorted set: worker → its last heartbeat), then every subject (a hash: worker → count),
--       then for each request that is an attempt to connect, too, what that is counted in
-- ARGV  worker, heartbeat's life (ms), and as JSON, which is less to read than as many arguments:
--       this worker's own count of each subject, in the order of KEYS from the second on,
--       and the requests: how many attempts a window allows (0: it is none), the window's length (ms),
--       then of each subject its place among the subjects and its cap
-- Returns {1 if this worker was known, else 0; then for each request 0, or the place of a subject that
-- is full, or how full the windows are}.  What is one attempt too many is given nothing.
--
-- A worker's own count is always written as it is in the worker, never added to: so a lost answer, a
-- repeated call and lost data all come right by themselves.

local workers, worker, life = KEYS[1], ARGV[1], tonumber(ARGV[2])
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

local own = cjson.decode(ARGV[3])

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
local attempt = 1 + #own
for _, request in ipairs(cjson.decode(ARGV[4])) do
    local refused = nil
    if request[1] > 0 then
        attempt = attempt + 1
        refused = hit(KEYS[attempt], request[1], request[2], 1)
    end
    for n = 3, #request, 2 do
        local place, cap = request[n], request[n + 1]
        if not refused and held_by_others(place) + own[place] >= cap then
            refused = place
        end
    end
    if not refused then
        for n = 3, #request, 2 do
            own[request[n]] = own[request[n]] + 1
        end
    end
    answer[#answer + 1] = refused or 0
end

for place = 1, #own do
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
