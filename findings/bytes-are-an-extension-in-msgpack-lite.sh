#!/usr/bin/env bash
# msgpack-lite writes a Uint8Array and a Date as extensions of its own, which no other library reads as bytes or as a time.
#
# Versions: msgpack-lite 0.2.2, @msgpack/msgpack 3.1.3, Node.js 20, Python's msgpack 1.2.4. Date: 2026-11-30.
# Steps: encode the two bytes 01 02 as Uint8Array and as Buffer, and a Date; decode them in Python.
# Behaviour: a Buffer becomes `bin`, but a Uint8Array, which the NATS clients hand out as payload, becomes extension 18. A Date
#   becomes extension 13 and not the timestamp extension -1. Python reads both as ExtType.
# For programs beside Natter: wrap bytes in Buffer.from() before encoding with msgpack-lite.
source "$(dirname "${BASH_SOURCE[0]}")/support.bash"
python_packages msgpack==1.2.4
npm_packages @msgpack/msgpack@3.1.3 msgpack-lite@0.2.2

cat >program.mjs <<'JAVASCRIPT'
import * as official from "@msgpack/msgpack";
import lite from "msgpack-lite";

const values = { Uint8Array: new Uint8Array([1, 2]), Buffer: Buffer.from([1, 2]), Date: new Date(0) };
for (const [kind, value] of Object.entries(values)) {
  for (const [name, encode] of [["@msgpack/msgpack", official.encode], ["msgpack-lite", lite.encode]]) {
    console.log(`${name} ${kind} ${Buffer.from(encode(value)).toString("hex")}`);
  }
}
JAVASCRIPT
node program.mjs >written
python -c 'import msgpack
for line in open("written"):
    print(line.strip(), "->", msgpack.unpackb(bytes.fromhex(line.split()[2])))' >seen
expect <<'SEEN'
@msgpack/msgpack Uint8Array c4020102 -> b'\x01\x02'
msgpack-lite Uint8Array d5120102 -> ExtType(code=18, data=b'\x01\x02')
@msgpack/msgpack Buffer c4020102 -> b'\x01\x02'
msgpack-lite Buffer c4020102 -> b'\x01\x02'
@msgpack/msgpack Date d6ff00000000 -> Timestamp(seconds=0, nanoseconds=0)
msgpack-lite Date d40d00 -> ExtType(code=13, data=b'\x00')
SEEN
