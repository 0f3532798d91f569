-- The mix of requests for wrk. FLOWS names a file of flow ids, BODY one with a flow; CREATES and CHANGES are the
-- shares of creates and of starts and stops, TOKEN the caller's token.
local ids = {}
for id in io.lines(os.getenv("FLOWS")) do ids[#ids + 1] = id end
local body = io.open(os.getenv("BODY")):read("a")
local creates, changes = tonumber(os.getenv("CREATES")), tonumber(os.getenv("CHANGES"))
local threads = 0

-- Every thread starts and stops flows of its own.
function setup(thread)
    thread:set("number", threads)
    threads = threads + 1
end

function init()
    math.randomseed(number + 1)
    headers = { ["Authorization"] = "Bearer " .. os.getenv("TOKEN"), ["Content-Type"] = "application/json" }
    own, place, verb = {}, 0, "start"
    for index = 1 + number, #ids, tonumber(os.getenv("THREADS")) do own[#own + 1] = ids[index] end
end

function request()
    local share = math.random()
    if share < creates then
        return wrk.format("POST", "/flows", headers, body)
    elseif share < creates + changes then
        place = place + 1
        if place > #own then
            place, verb = 1, verb == "start" and "stop" or "start"
        end
        return wrk.format("POST", "/flows/" .. own[place] .. "/" .. verb, headers)
    elseif share < creates + changes + 0.2 then
        return wrk.format("GET", "/flows?page%5Bsize%5D=20&page%5Bafter%5D=", headers)
    end
    return wrk.format("GET", "/flows/" .. ids[math.random(#ids)], headers)
end

function done(summary, latency)
    local errors = summary.errors
    io.write(string.format(
        '\n{"requests": %d, "seconds": %.3f, "p50_ms": %.3f, "p99_ms": %.3f, "max_ms": %.3f, "failed": %d, "refused": %d}\n',
        summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
        latency.max / 1e3, errors.connect + errors.read + errors.write + errors.timeout, errors.status))
end
