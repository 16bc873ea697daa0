"""User 42 rates movie 1 and takes the rating away: `python rate.py [USER]`. Needs the packages in requirements.txt."""
import asyncio, os, random, sys, time, uuid
import msgpack, nats

user = int(sys.argv[1]) if len(sys.argv) > 1 else 42
seen = {"prev": {"replicas": {}, "clock": 0}}  # the session, sent with each request: its label, and soon its cluster

def new_id():  # a UUID of version 7 that carries a stamp above all that the session has seen: retries cost no look-up
    stamp = max(time.time_ns() // 1_000_000 << 16, seen["prev"]["clock"] + 1)
    bits = (stamp >> 16) << 80 | 7 << 76 | (stamp >> 4 & 0xFFF) << 64 | 2 << 62 | (stamp & 0xF) << 58
    return str(uuid.UUID(int=bits | random.getrandbits(58)))

async def ask(broker, operation, **fields):
    # Encoded once: each retry has the same id and the same `prev`, and takes effect once.
    request, error = msgpack.packb({"user_id": user, "movie_id": 1, **seen, **fields}), None
    for attempt in range(35):  # for a minute
        try:
            reply = await broker.request(f"ratings.frontend.{operation}", request, timeout=3)
            # Trap: nats-py has None for absent headers, and a body may be empty.
            headers, body = reply.headers or {}, msgpack.unpackb(reply.data or b"\x80")
            if "label" in body:  # in answers, and in the errors 404 and 409
                old, new = seen["prev"], body["label"]
                counts = {id: max(n, old["replicas"].get(id, 0)) for id, n in new["replicas"].items()}
                prev = {"replicas": old["replicas"] | counts, "clock": max(old["clock"], new["clock"])}
                seen.update(prev=prev, cluster=body["cluster"])
            # Trap: nats-py raises no exception for a service error. The code in the headers tells it.
            error = headers.get("Nats-Service-Error")
            if headers.get("Nats-Service-Error-Code", "200") < "500":
                return print(operation, error or body["value"]["rating"])
        except (nats.errors.NoRespondersError, nats.errors.TimeoutError) as silence:
            error = repr(silence)
        print("trying again:", error, file=sys.stderr, flush=True)
        await asyncio.sleep(min(0.1 * 2**attempt, 2))
    sys.exit(f"{operation}: {error}")

async def main():
    # Trap: nats-py does not decode %40 and the like in a URL's user and password. Give these as options.
    # Trap: a subscription's callback runs for one message at a time, so a service endpoint in nats-py works serially.
    broker = await nats.connect(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"),
                                user=os.environ.get("NATS_USER"), password=os.environ.get("NATS_PASSWORD"))
    first = new_id()
    for id in first, first, new_id():  # the second one is a retry: it has the answer of the first
        await ask(broker, "create", rating=4.5, id=id)
    await ask(broker, "read")
    await ask(broker, "delete", id=new_id())
    await broker.close()

asyncio.run(main())
