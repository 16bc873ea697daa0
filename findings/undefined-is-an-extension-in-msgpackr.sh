#!/usr/bin/env bash
# msgpackr and what-the-pack write JavaScript's undefined as extension type 0; other writers use nil or leave the key out.
#
# Versions: msgpackr 2.1.4, what-the-pack 2.0.3, @msgpack/msgpack 3.1.3, msgpack-lite 0.2.2, notepack.io 3.0.1,
#   msgpack5 6.1.0, Node.js 20, Python's msgpack 1.2.4. Date: 2026-11-30.
# Steps: encode {prev: undefined}, as a program does that has no label yet, and decode msgpackr's bytes in Python.
# Behaviour: msgpackr and what-the-pack write d4 00 00, an extension that no specification names. Python reads it as
#   ExtType(code=0, data=b'\x00'), neither nil nor a missing key.
# For programs beside Natter: leave the key out until there is a label.
source "$(dirname "${BASH_SOURCE[0]}")/support.bash"
python_packages msgpack==1.2.4
npm_packages @msgpack/msgpack@3.1.3 msgpackr@2.1.4 msgpack-lite@0.2.2 msgpack5@6.1.0 notepack.io@3.0.1 what-the-pack@2.0.3

cat >program.mjs <<'JAVASCRIPT'
import * as official from "@msgpack/msgpack";
import * as msgpackr from "msgpackr";
import lite from "msgpack-lite";
import msgpack5 from "msgpack5";
import notepack from "notepack.io";
import whatThePack from "what-the-pack";

const writers = {
  msgpackr: msgpackr.pack,
  "what-the-pack": whatThePack.initialize(65536).encode,
  "@msgpack/msgpack": official.encode,
  "msgpack-lite": lite.encode,
  msgpack5: (value) => msgpack5().encode(value).slice(),
  "notepack.io": notepack.encode,
};
for (const [name, encode] of Object.entries(writers)) {
  console.log(`${name}: ${Buffer.from(encode({ prev: undefined })).toString("hex")}`);
}
JAVASCRIPT
node program.mjs >seen
python -c 'import msgpack, sys
print("Python reads", msgpack.unpackb(bytes.fromhex(open("seen").readline().split(": ")[1])))' >>seen
expect <<'SEEN'
msgpackr: de0001a470726576d40000
what-the-pack: 81a470726576d40000
@msgpack/msgpack: 81a470726576c0
msgpack-lite: 81a470726576c0
msgpack5: 80
notepack.io: 80
Python reads {'prev': ExtType(code=0, data=b'\x00')}
SEEN
