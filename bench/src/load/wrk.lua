-- What wrk asks for, and what it tells at the end. Its arguments: a template, how many numbers may stand in it,
-- and the first of them; each request takes one at random, and another one for a second place in the template.
-- Without a template: the URL's path.
local template, count, first = nil, 0, 0

local threads = 0
function setup(thread)
    thread:set("seed", threads)
    threads = threads + 1
end

function init(arguments)
    template, count, first = arguments[1], tonumber(arguments[2] or 0), tonumber(arguments[3] or 0)
    math.randomseed(42 + seed)
    if template then
        function request()
            local function any() return first + math.random(0, count - 1) end
            return wrk.format(nil, string.format(template, any(), any()))
        end
    end
end

function done(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format(
        'tidemark-bench {"requests":%d,"duration_us":%d,"p50_us":%.1f,"p99_us":%.1f,"mean_us":%.1f,"failed":%d}\n',
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.mean,
        errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
