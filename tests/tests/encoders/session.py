"""One session with Python's msgpack: `python session.py ENCODER USER`, as session.cjs does it."""
import sys

import msgpack

NAME, USER = sys.argv[1], int(sys.argv[2])


def as_bytes(value):
    """Texts as `bin`, keys among them."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict):
        return {as_bytes(key): as_bytes(item) for key, item in value.items()}
    return [as_bytes(item) for item in value] if isinstance(value, list) else value


def as_floats(value):
    """Whole numbers as floats, as Lua has no others, and empty maps as empty lists."""
    if isinstance(value, dict):
        return {key: as_floats(item) for key, item in value.items()} or []
    return float(value) if isinstance(value, int) and value < 1 << 53 else value


ENCODERS = {
    "msgpack": msgpack.packb,
    "msgpack with bytes": lambda value: msgpack.packb(as_bytes(value)),
    "msgpack with floats": lambda value: msgpack.packb(as_floats(value)),
    "msgpack with raw": lambda value: msgpack.packb(value, use_bin_type=False),
}
prev = {}


def ask(operation, **fields):
    global prev
    print(operation, ENCODERS[NAME]({"user_id": USER, "movie_id": 1, "prev": prev, **fields}).hex(), flush=True)
    line = sys.stdin.readline().strip()
    if not line or set(line) - set("0123456789abcdef"):
        print("failed", operation, line)
        sys.exit(1)
    reply = msgpack.unpackb(bytes.fromhex(line))
    prev = reply["label"]
    return reply["value"]


assert ask("create", rating=4)["rating"] == 4
assert ask("read")["rating"] == 4
assert ask("update", rating=2.5)["rating"] == 2.5
assert ask("read")["rating"] == 2.5
assert [rating["movie_id"] for rating in ask("all", limit=10, after=0)["ratings"]] == [1]
assert ask("delete")["rating"] == 2.5
assert ask("read")["rating"] is None
print("done")
