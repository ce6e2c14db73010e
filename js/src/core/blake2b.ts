/**
 * BLAKE2b (RFC 7693) without a key, in numbers of 32 bits: a page that has no WebCrypto, or that
 * must not wait, can hash with it.
 */

const IV = Uint32Array.from([
  0xf3bcc908, 0x6a09e667, 0x84caa73b, 0xbb67ae85, 0xfe94f82b, 0x3c6ef372, 0x5f1d36f1, 0xa54ff53a,
  0xade682d1, 0x510e527f, 0x2b3e6c1f, 0x9b05688c, 0xfb41bd6b, 0x1f83d9ab, 0x137e2179, 0x5be0cd19,
]);

// The message schedule of rounds 0 to 9; rounds 10 and 11 are 0 and 1 again.
const SIGMA = [
  "0123456789abcdef",
  "ea489fd61c02b753",
  "b8c052fdae367194",
  "7931dcbe265a40f8",
  "905724afe1bc683d",
  "2c6a0b834d75fe19",
  "c51fed4a0763928b",
  "db7ec13950f4862a",
  "6fe9b308c2d714a5",
  "a2847615fb9e3cd0",
].map((digits) => [...digits].map((digit) => Number.parseInt(digit, 16)));

const BLOCK = 128;

/** The hash of some bytes, `length` bytes long (1 to 64). */
export function blake2b(input: Uint8Array, length: number): Uint8Array {
  const state = IV.slice();
  state[0]! ^= 0x01010000 ^ length;
  const blocks = Math.max(1, Math.ceil(input.length / BLOCK));
  const block = new Uint8Array(BLOCK);
  const words = new Uint32Array(block.buffer);
  for (let i = 0; i < blocks; i += 1) {
    const isLast = i === blocks - 1;
    const end = Math.min(input.length, (i + 1) * BLOCK);
    block.fill(0);
    block.set(input.subarray(i * BLOCK, end));
    compress(state, words, end, isLast);
  }
  return new Uint8Array(state.buffer, 0, length);
}

function compress(state: Uint32Array, words: Uint32Array, count: number, isLast: boolean): void {
  const v = new Uint32Array(32);
  v.set(state);
  v.set(IV, 16);
  v[24]! ^= count;
  v[25]! ^= Math.floor(count / 2 ** 32);
  if (isLast) {
    v[28] = ~v[28]!;
    v[29] = ~v[29]!;
  }
  for (let round = 0; round < 12; round += 1) {
    const s = SIGMA[round % 10]!;
    for (let i = 0; i < 4; i += 1) mix(v, words, i, i + 4, i + 8, i + 12, s[2 * i]!, s[2 * i + 1]!);
    for (let i = 0; i < 4; i += 1) {
      const [b, c, d] = [4 + ((i + 1) % 4), 8 + ((i + 2) % 4), 12 + ((i + 3) % 4)];
      mix(v, words, i, b, c, d, s[8 + 2 * i]!, s[9 + 2 * i]!);
    }
  }
  for (let i = 0; i < 16; i += 1) state[i]! ^= v[i]! ^ v[i + 16]!;
}

/** The function G, on words of 64 bits that stand as low and high halves. */
function mix(
  v: Uint32Array,
  words: Uint32Array,
  a: number,
  b: number,
  c: number,
  d: number,
  x: number,
  y: number,
): void {
  addTo(v, a, v[2 * b]!, v[2 * b + 1]!);
  addTo(v, a, words[2 * x]!, words[2 * x + 1]!);
  turn(v, d, a, 32);
  addTo(v, c, v[2 * d]!, v[2 * d + 1]!);
  turn(v, b, c, 24);
  addTo(v, a, v[2 * b]!, v[2 * b + 1]!);
  addTo(v, a, words[2 * y]!, words[2 * y + 1]!);
  turn(v, d, a, 16);
  addTo(v, c, v[2 * d]!, v[2 * d + 1]!);
  turn(v, b, c, 63);
}

function addTo(v: Uint32Array, place: number, low: number, high: number): void {
  const sum = v[2 * place]! + low;
  v[2 * place] = sum;
  v[2 * place + 1]! += high + (sum > 0xffffffff ? 1 : 0);
}

/** v[place] = (v[place] ^ v[other]) turned right by so many bits. */
function turn(v: Uint32Array, place: number, other: number, bits: number): void {
  let low = v[2 * place]! ^ v[2 * other]!;
  let high = v[2 * place + 1]! ^ v[2 * other + 1]!;
  let by = bits;
  if (by >= 32) {
    [low, high] = [high, low];
    by -= 32;
  }
  v[2 * place] = by === 0 ? low : (low >>> by) | (high << (32 - by));
  v[2 * place + 1] = by === 0 ? high : (high >>> by) | (low << (32 - by));
}
