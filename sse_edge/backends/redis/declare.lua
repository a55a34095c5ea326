-- Say how much history is kept, for every publisher and reader of this data set.
--
-- KEYS  clock
-- ARGV  the settings as JSON and a short hash of them, '1' if they win over others that are there ('0': only
--       where there are none), the shortest time in ms for which a channel's history was kept until now, as
--       far as the caller knows, and the version of the settings that it knows it from; then '1' or '0',
--       whether a restart loses nothing, from a worker, or '' from who cannot say.  Settings that are empty
--       say nothing.
-- Returns {the settings that hold, what this server says to writes while it takes none, or ''}.  Where
-- other settings are there than the caller knows, nothing is changed.

judge() -- by what was said before
if ARGV[6] ~= '' and known_of('durable', '0') ~= ARGV[6] then
    note('durable', ARGV[6])
end
if ARGV[1] == '' or version == ARGV[2] or version ~= ARGV[5] or (version ~= '' and ARGV[3] == '0') then
    return { known_of('settings', ''), refusal or '' }
end
local now = cursor()
-- What was published until now was kept by the old settings, and before those, perhaps, by older ones.
local shortest = tonumber(ARGV[4])
local before = tonumber(string.match(known_of('changed', '0-0'), '^%d+'))
if before > 0 and last_ms - shortest < before then
    shortest = math.min(shortest, tonumber(known_of('shortest', '0')))
end
if tonumber(ARGV[4]) == 0 then
    -- Nothing was kept until now: a place from before is in another data set.
    name_anew()
    note('epoch', now, 'tag', tag, 'seal', seal)
end
note('settings', ARGV[1], 'version', ARGV[2], 'changed', now, 'steady', now,
    'shortest', string.format('%.0f', shortest))
return { known_of('settings', ''), refusal or '' }
