-- Each reply is checked in full before measuring; under load wrk counts what is not 2xx or breaks off.
-- In the environment: BENCH_BODY, bytes of the request's body, 0 for a GET; BENCH_PAUSE, milliseconds for which a client
-- waits before each request.

local body = tonumber(os.getenv("BENCH_BODY"))
if body > 0 then
   wrk.method = "POST"
   wrk.body = string.rep("x", body)
end

local pause = tonumber(os.getenv("BENCH_PAUSE"))
if pause > 0 then
   function delay()
      return pause
   end
end

function done(summary, latency)
   local errors = summary.errors
   io.write(string.format(
      'RESULT {"requests": %d, "seconds": %.6f, "p50_us": %d, "p99_us": %d, "errors": %d}\n',
      summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
      errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
