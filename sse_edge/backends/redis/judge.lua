-- The id before which nothing is known, and whether the server process is a new one.
--
-- Of a server process that the data set has not seen yet that is every id until now: what it loaded may lack
-- the newest events, or be a copy that another server goes on with.  So it is another data set from here on,
-- with another tag, unless its workers say that a restart loses nothing.  Needs no write.
local function judge()
    local run = server_says('server', 'run_id')
    if known_of('run') == run then
        return known_of('epoch'), false
    end
    if known_of('durable') == '1' then
        note('run', run)
        return known_of('epoch'), true
    end
    local now, old_tag, old_seal = cursor(), tag, seal
    name_anew()
    note('run', run, 'epoch', now, 'tag', tag, 'seal', seal)
    if refusal then
        tag, seal = old_tag, old_seal
    end
    return now, true
end
