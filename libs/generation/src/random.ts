const MASK = 2n ** 64n - 1n;

/** Numbers in [0, 1), the same ones for the same seed: SplitMix64 (Steele, Lea, Flood, 2014). Not for secrets. */
export function splitMix64(seed: number): () => number {
  let state = BigInt(seed);
  return () => {
    state = (state + 0x9e3779b97f4a7c15n) & MASK;
    let z = state;
    z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK;
    z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & MASK;
    return Number((z ^ (z >> 31n)) >> 11n) / 2 ** 53;
  };
}
