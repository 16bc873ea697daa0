// User 42 rates movie 1 and takes the rating away: `node rate.mjs [USER]`, after `npm ci`.
import { Decoder, Encoder } from "@msgpack/msgpack";
import { connect, NoRespondersError, RequestError, TimeoutError } from "@nats-io/transport-node";

// Trap: the clock has 64 bits. A number and JSON.parse lose its last digits, and msgpackr writes an integer from 2^32 on as
// a float, though it reads 64-bit integers as BigInt. With useBigInt64 a BigInt is read and written as it is.
const [encoder, decoder] = [new Encoder({ useBigInt64: true }), new Decoder({ useBigInt64: true })];
const user = Number(process.argv[2] ?? 42);
const seen = { prev: { replicas: {}, clock: 0n } }; // the session, sent with each request: its label, and soon its cluster
const greater = (a, b) => (a > b ? a : b); // Math.max refuses a BigInt

function newId() { // a UUID of version 7 that carries a stamp above all that the session has seen: retries cost no look-up
  const stamp = greater(BigInt(Date.now()) << 16n, seen.prev.clock + 1n);
  const random = crypto.getRandomValues(new BigUint64Array(1))[0] >> 6n;
  const bits = (stamp >> 16n) << 80n | 7n << 76n | (stamp >> 4n & 0xfffn) << 64n | 2n << 62n | (stamp & 0xfn) << 58n | random;
  return bits.toString(16).padStart(32, "0"); // an id needs no hyphens
}

async function ask(operation, fields = {}) {
  // Encoded once: each retry has the same id and the same `prev`, and takes effect once. A Map would be written as {}.
  const request = encoder.encode({ user_id: user, movie_id: 1, ...seen, ...fields });
  for (let attempt = 0, error; attempt < 35; attempt++) { // for a minute
    try {
      const reply = await broker.request(`ratings.frontend.${operation}`, request, { timeout: 3000 });
      const body = reply.data.length ? decoder.decode(reply.data) : {};
      if (body.label) { // in answers, and in the errors 404 and 409
        const { prev: { replicas, clock } } = seen;
        for (const [id, n] of Object.entries(body.label.replicas)) replicas[id] = greater(n, replicas[id] ?? 0);
        Object.assign(seen, { prev: { replicas, clock: greater(body.label.clock, clock) }, cluster: body.cluster });
      }
      // Trap: request() does not reject for a service error. The code in the headers tells it.
      error = reply.headers?.get("Nats-Service-Error");
      const code = Number(reply.headers?.get("Nats-Service-Error-Code") || 200);
      if (code < 500) return console.log(operation, error || body.value.rating);
    } catch (silence) {
      if (![RequestError, NoRespondersError, TimeoutError].some((kind) => silence instanceof kind)) throw silence;
      error = silence.message;
    }
    console.error("trying again:", error);
    await new Promise((done) => setTimeout(done, Math.min(100 * 2 ** attempt, 2000)));
  }
  throw new Error(`${operation}: no answer within a minute`);
}

// Trap: connect() ignores user and password in a URL. Give them as options, decoded.
const url = new URL(process.env.NATS_URL ?? "nats://127.0.0.1:4222");
const [name, pass] = [url.username, url.password].map(decodeURIComponent);
const broker = await connect({ servers: url.host, ...(name && { user: name, pass }) });
const first = newId();
for (const id of [first, first, newId()]) await ask("create", { rating: 4.5, id }); // the second one is a retry
await ask("read");
await ask("delete", { id: newId() });
await broker.close();
