"""User 42 rates movie 1, changes the rating, reads it, and takes it away. Needs nats-py and msgpack."""
import asyncio, os, random, time, uuid
import msgpack, nats

label = {"replicas": {}, "clock": 0}  # what this session has seen: the `prev` of its next request

def new_id():  # a UUID of version 7 whose time and counter bits are a stamp above all that this session has seen
    stamp = max(time.time_ns() // 1_000_000 << 16, label["clock"] + 1)
    bits = (stamp >> 16) << 80 | 7 << 76 | (stamp >> 4 & 0xFFF) << 64 | 2 << 62 | (stamp & 0xF) << 58
    return str(uuid.UUID(int=bits | random.getrandbits(58)))

async def ask(broker, operation, **fields):
    request = msgpack.packb({"user_id": 42, "movie_id": 1, "prev": label, **fields})
    for pause in (0.1, 0.2, 0.4, 0.8, 1.6):  # where it may help, the same request is sent again, under the same id
        try:
            reply = await broker.request(f"ratings.frontend.{operation}", request, timeout=3)
            body, headers = msgpack.unpackb(reply.data or b"\x80"), reply.headers or {}
            seen = body.get("label", label)  # in answers, and in the errors 404 and 409
            for replica, count in seen["replicas"].items():
                label["replicas"][replica] = max(count, label["replicas"].get(replica, 0))
            label["clock"] = max(label["clock"], seen["clock"])
            print(operation, headers.get("Nats-Service-Error") or body["value"]["rating"], *body.get("replicas", ()))
            if headers.get("Nats-Service-Error-Code", "200") < "500":
                return body.get("value")
        except (nats.errors.TimeoutError, nats.errors.NoRespondersError) as error:
            print(operation, repr(error))
        await asyncio.sleep(pause)

async def main():
    broker, first = await nats.connect(os.environ.get("NATS_URL", "nats://127.0.0.1:4222")), new_id()
    created = await ask(broker, "create", rating=4.5, id=first)
    print("the same:", await ask(broker, "create", rating=4.5, id=first) == created)
    await ask(broker, "create", rating=1.0, id=new_id())
    await ask(broker, "update", rating=3.0, id=new_id())
    await ask(broker, "read")
    await ask(broker, "delete", id=new_id())
    await ask(broker, "read")
    await broker.close()

asyncio.run(main())
