// One session with an encoder for JavaScript: `node session.cjs ENCODER USER`. Requests go out as lines of an operation and
// a payload in hexadecimal digits, replies come in as lines of digits. Every label goes back as the decoder gave it.
"use strict";
const assert = require("node:assert");
const lines = require("node:readline").createInterface({ input: process.stdin })[Symbol.asyncIterator]();

function encoder(name) {
  if (name === "@msgpack/msgpack") {
    const { encode, decode } = require("@msgpack/msgpack");
    return { encode, decode };
  }
  if (name === "@msgpack/msgpack with BigInt") {
    const { encode, decode } = require("@msgpack/msgpack");
    const options = { useBigInt64: true };
    return { encode: (map) => encode(map, options), decode: (bytes) => decode(bytes, options) };
  }
  if (name === "@msgpack/msgpack with floats") {
    // Numbers of every kind as floats of 64 bits, as Lua has them.
    const { encode, decode } = require("@msgpack/msgpack");
    const options = { forceIntegerToFloat: true };
    return { encode: (map) => encode(map, options), decode };
  }
  if (name === "msgpackr") {
    const { pack, unpack } = require("msgpackr");
    return { encode: pack, decode: unpack };
  }
  if (name === "msgpackr with numbers") {
    const { Packr } = require("msgpackr");
    const packr = new Packr({ useRecords: false, int64AsType: "number" });
    return { encode: (map) => packr.pack(map), decode: (bytes) => packr.unpack(bytes) };
  }
  if (name === "msgpack-lite") {
    const { encode, decode } = require("msgpack-lite");
    return { encode, decode };
  }
  throw new Error(`no encoder ${name}`);
}

async function main([name, user]) {
  const { encode, decode } = encoder(name);
  const key = { user_id: Number(user), movie_id: 1 };
  let prev = {};
  const ask = async (operation, fields) => {
    console.log(operation, Buffer.from(encode({ ...key, ...fields, prev })).toString("hex"));
    const { value: line } = await lines.next();
    assert(/^[0-9a-f]+$/.test(line), `${operation}: ${line}`);
    const reply = decode(Buffer.from(line, "hex"));
    prev = reply.label;
    return reply.value;
  };
  // What a program left out may be there as undefined.
  prev = undefined;
  assert.strictEqual((await ask("read", { id: undefined, cluster: undefined })).rating, null);
  assert.strictEqual((await ask("all", { limit: undefined, after: undefined })).ratings.length, 0);
  prev = { replicas: undefined, clock: undefined };
  assert.strictEqual((await ask("read", {})).rating, null);
  prev = {};
  assert.strictEqual((await ask("create", { rating: 4 })).rating, 4);
  assert.strictEqual((await ask("read", {})).rating, 4);
  assert.strictEqual((await ask("update", { rating: 2.5 })).rating, 2.5);
  assert.strictEqual((await ask("read", {})).rating, 2.5);
  const page = await ask("all", { limit: 10, after: 0 });
  assert.strictEqual(page.ratings.length, 1);
  assert.strictEqual(Number(page.total), 1);
  assert.strictEqual((await ask("delete", {})).rating, 2.5);
  assert.strictEqual((await ask("read", {})).rating, null);
  console.log("done");
  process.exit(0);
}

main(process.argv.slice(2)).catch((error) => {
  console.log("failed", String(error.message).replaceAll("\n", " "));
  process.exit(1);
});
