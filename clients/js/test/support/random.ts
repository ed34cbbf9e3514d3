/** Decisions that can be had again: PEAL_SEED, or any seed, which is printed. */
const seed = Number(process.env.PEAL_SEED ?? Date.now() % 1e9);
let state = seed >>> 0;

/** From 0 to less than 1 (the generator mulberry32). */
export function random(): number {
  state = (state + 0x6d2b79f5) >>> 0;
  let mixed = Math.imul(state ^ state >>> 15, state | 1);
  mixed ^= mixed + Math.imul(mixed ^ mixed >>> 7, mixed | 61);
  return ((mixed ^ mixed >>> 14) >>> 0) / 2 ** 32;
}

export function printSeed(): void {
  console.log(`PEAL_SEED=${seed}`);
}
