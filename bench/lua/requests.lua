-- wrk script: ARGS are the kind (read, search or create), a file with one path or body a line,
-- a bearer token ("" for none) and, for create, the path to post to.
local lines, headers, kind, target = {}, {}, "read", "/"

function init(args)
  kind, target = args[1], args[4] or "/"
  for line in io.lines(args[2]) do lines[#lines + 1] = line end
  if args[3] and #args[3] > 1 then headers["Authorization"] = "Bearer " .. args[3] end
  headers["Content-Type"] = "application/fhir+json"
  math.randomseed(os.time() + (tonumber(tostring({}):match("0x(%x+)"), 16) or 0) % 1000000)
end

function request()
  local line = lines[math.random(#lines)]
  if kind == "create" then return wrk.format("POST", target, headers, line) end
  return wrk.format("GET", line, headers)
end

function done(summary, latency)
  io.write(string.format("\np95 %.3fms\n", latency:percentile(95) / 1000))
end
