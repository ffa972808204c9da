-- wrk script: ARGS are the kind (read, search or create), a file with one path or body a line,
-- a bearer token ("" for none), for create the path to post to, and a rate a second of all
-- connections together (0: as fast as they are answered).
local lines, headers, kind, target, rate = {}, {}, "read", "/", 0
local ffi = require("ffi")
ffi.cdef("typedef struct { long s; long us; } moment; int gettimeofday(moment *, void *);")
local moment, due = ffi.new("moment"), 0

-- Milliseconds to wait before the next request, so that all together keep the rate.
local function paced()
  ffi.C.gettimeofday(moment, nil)
  local now = tonumber(moment.s) * 1000 + tonumber(moment.us) / 1000
  -- What was missed is not made good in a burst.
  due = math.max(due, now - 1000 / rate) + 1000 / rate
  return math.max(0, math.floor(due - now + math.random()))
end

function init(args)
  kind, target = args[1], args[4] or "/"
  rate = tonumber(args[5] or "0")
  for line in io.lines(args[2]) do lines[#lines + 1] = line end
  if args[3] and #args[3] > 1 then headers["Authorization"] = "Bearer " .. args[3] end
  headers["Content-Type"] = "application/fhir+json"
  if rate > 0 then delay = paced end
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
