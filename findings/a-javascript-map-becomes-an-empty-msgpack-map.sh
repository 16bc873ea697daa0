#!/usr/bin/env bash
# Four of six MessagePack writers for JavaScript write a Map with entries as an empty map, without an error.
#
# Versions: @msgpack/msgpack 3.1.3, msgpackr 2.1.4, msgpack-lite 0.2.2, msgpack5 6.1.0, notepack.io 3.0.1,
#   what-the-pack 2.0.3, Node.js 20. Date: 2026-11-30.
# Steps: encode new Map([["r1", 3]]).
# Behaviour: msgpackr and msgpack5 write the entry. The other four look at the object's own properties, of which a Map has
#   none, and write 0x80. A vector timestamp kept in a Map is lost on its way, and nobody is told.
# For programs beside Natter: turn a Map into a plain object (Object.fromEntries) before encoding. An empty `prev` is a valid
#   request to Natter: the session's promise is gone with the entries.
source "$(dirname "${BASH_SOURCE[0]}")/support.bash"
npm_packages @msgpack/msgpack@3.1.3 msgpackr@2.1.4 msgpack-lite@0.2.2 msgpack5@6.1.0 notepack.io@3.0.1 what-the-pack@2.0.3

cat >program.mjs <<'JAVASCRIPT'
import * as official from "@msgpack/msgpack";
import * as msgpackr from "msgpackr";
import lite from "msgpack-lite";
import msgpack5 from "msgpack5";
import notepack from "notepack.io";
import whatThePack from "what-the-pack";

const writers = {
  "@msgpack/msgpack": official.encode,
  msgpackr: msgpackr.pack,
  "msgpack-lite": lite.encode,
  msgpack5: (value) => msgpack5().encode(value).slice(),
  "notepack.io": notepack.encode,
  "what-the-pack": whatThePack.initialize(65536).encode,
};
for (const [name, encode] of Object.entries(writers)) {
  console.log(`${name}: ${Buffer.from(encode(new Map([["r1", 3]]))).toString("hex")}`);
}
JAVASCRIPT
node program.mjs >seen
expect <<'SEEN'
@msgpack/msgpack: 80
msgpackr: 81a2723103
msgpack-lite: 80
msgpack5: 81a2723103
notepack.io: 80
what-the-pack: 80
SEEN
