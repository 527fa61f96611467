-- Load on one gateway, for wrk: one record after the other, each of 64 in turn.
--
--   wrk -t1 -c32 -d10s -s _gateway_load.lua http://127.0.0.1:8080 -- MODEL FEATURES [statuses]
--
-- Prints a line of JSON: requests, microseconds, errors by kind, all latencies that occurred in
-- microseconds with their counts, and with a third argument responses by status.

local requests, turn, only = {}, 0, nil

function setup(thread)
  only = thread
end

function init(args)
  local model, features = args[1], tonumber(args[2])
  math.randomseed(0)
  for number = 1, 64 do
    local data = {}
    for place = 1, features do
      data[place] = string.format("%.4f", 2 * math.random() - 1)
    end
    local body = '{"inputs":[{"name":"x","datatype":"FP32","shape":[1,' .. features ..
      '],"data":[' .. table.concat(data, ",") .. "]}]}"
    local headers = {["Content-Type"] = "application/json"}
    requests[number] = wrk.format("POST", "/v2/models/" .. model .. "/infer", headers, body)
  end
  if args[3] then
    function response(status)
      local name = "status" .. status
      _G[name] = (_G[name] or 0) + 1
    end
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency)
  local found = {}
  for place = 1, #latency do
    local value, count = latency(place)
    found[place] = "[" .. value .. "," .. count .. "]"
  end
  local errors = {}
  for kind, count in pairs(summary.errors) do
    errors[#errors + 1] = '"' .. kind .. '":' .. count
  end
  local statuses = {}
  for status = 200, 599 do
    local count = only:get("status" .. status)
    if count then
      statuses[#statuses + 1] = '"' .. status .. '":' .. count
    end
  end
  io.write("\n{\"statuses\":{" .. table.concat(statuses, ",") .. "},\"requests\":" ..
    summary.requests .. ",\"microseconds\":" .. summary.duration ..
    ",\"errors\":{" .. table.concat(errors, ",") .. "},\"latencies\":[" ..
    table.concat(found, ",") .. "]}\n")
end
