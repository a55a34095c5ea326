-- Announce events that nothing numbers or keeps (history=0).
--
-- ARGV  the announcing command (PUBLISH or SPUBLISH), then for each event: announce channel, body

for at = 2, #ARGV, 2 do
    redis.call(ARGV[1], ARGV[at], '- -\n' .. ARGV[at + 1])
end
return 1
