-- Which commands the user of this connection may not run.  Runs none of them.
--
-- ARGV  each command as a JSON list, with arguments that name the keys and pub/sub channels in question
-- Returns the places in ARGV of those that are denied.

local denied = {}
for at, command in ipairs(ARGV) do
    if not redis.acl_check_cmd(unpack(cjson.decode(command))) then
        denied[#denied + 1] = at
    end
end
return denied
