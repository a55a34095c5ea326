-- Shared beginning of what publishes: it goes on where the publisher knows how much history is kept.
--
-- KEYS  clock
-- ARGV  the announcing command (PUBLISH or SPUBLISH), the settings' version as the publisher knows it, then
--       what each script says
-- Returns nothing at all where no data set has begun, and only the settings where the publisher knows others.

if not tag then
    return {}
end
if version ~= ARGV[2] then
    return { redis.call('HGET', clock, 'settings') or '' }
end
local announce = ARGV[1]
