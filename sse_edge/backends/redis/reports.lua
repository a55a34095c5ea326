-- What each worker says of itself.  Needs no write.
--
-- KEYS  workers (see report.lua), then the hashes of some of them
-- ARGV  the name of the worker of each of those hashes
-- Returns {the time (ms), then for each worker that counts its name, when it was heard last (ms), and what it
-- says: '' if nothing, and '-' if its hash was not among KEYS, or is not there}

local time = redis.call('TIME')
local hashes, answer = {}, { tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) }
for at = 2, #KEYS do
    hashes[ARGV[at - 1]] = KEYS[at]
end
local names = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '+inf', 'WITHSCORES')
for at = 1, #names, 2 do
    local own, told = hashes[names[at]], '-'
    local report = own and redis.pcall('HGET', own, 'report')
    if type(report) == 'string' then
        told = redis.call('HGET', own, 'told') or ''
    end
    answer[#answer + 1] = names[at]
    answer[#answer + 1] = names[at + 1]
    answer[#answer + 1] = told
end
return answer
