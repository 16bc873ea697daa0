#!/usr/bin/env bash
# notepack.io and what-the-pack write whole numbers from 2^64 on as another number, without an error.
#
# Versions: notepack.io 3.0.1, what-the-pack 2.0.3, @msgpack/msgpack 3.1.3 for comparison, Node.js 20. Date: 2026-11-30.
# Steps: encode whole numbers beyond 64 bits and decode them with the same library.
# Behaviour: both write every finite whole number as a 64-bit integer. What does not fit loses its upper bits: 2^64 and 1e300
#   become 0. @msgpack/msgpack writes such numbers as float64.
# For programs beside Natter: no field of Natter is that large, so a wrapped number is either refused by its range or, as 0 in
#   a clock, taken for "nothing seen".
source "$(dirname "${BASH_SOURCE[0]}")/support.bash"
npm_packages @msgpack/msgpack@3.1.3 notepack.io@3.0.1 what-the-pack@2.0.3

cat >program.mjs <<'JAVASCRIPT'
import * as official from "@msgpack/msgpack";
import notepack from "notepack.io";
import whatThePack from "what-the-pack";

const packer = whatThePack.initialize(65536);
for (const number of [2 ** 64, 1e20, 1e300, -1e20]) {
  for (const [name, encode, decode] of [
    ["@msgpack/msgpack", official.encode, official.decode],
    ["notepack.io", notepack.encode, notepack.decode],
    ["what-the-pack", packer.encode, packer.decode],
  ]) {
    const bytes = Buffer.from(encode(number));
    console.log(`${name}: ${number} as ${bytes.toString("hex")}, read back as ${decode(bytes)}`);
  }
}
JAVASCRIPT
node program.mjs >seen
expect <<'SEEN'
@msgpack/msgpack: 18446744073709552000 as cb43f0000000000000, read back as 18446744073709552000
notepack.io: 18446744073709552000 as cf0000000000000000, read back as 0
what-the-pack: 18446744073709552000 as cf0000000000000000, read back as 0
@msgpack/msgpack: 100000000000000000000 as cb4415af1d78b58c40, read back as 100000000000000000000
notepack.io: 100000000000000000000 as cf6bc75e2d63100000, read back as 7766279631452242000
what-the-pack: 100000000000000000000 as cf6bc75e2d63100000, read back as 7766279631452242000
@msgpack/msgpack: 1e+300 as cb7e37e43c8800759c, read back as 1e+300
notepack.io: 1e+300 as cf0000000000000000, read back as 0
what-the-pack: 1e+300 as cf0000000000000000, read back as 0
@msgpack/msgpack: -100000000000000000000 as cbc415af1d78b58c40, read back as -100000000000000000000
notepack.io: -100000000000000000000 as d39438a1d29cf00000, read back as -7766279631452242000
what-the-pack: -100000000000000000000 as d39438a1d29cf00000, read back as -7766279631452242000
SEEN
