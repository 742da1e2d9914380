/** fast-check settings of every property here: SLOW=1 runs the full count; a failure prints its seed. */
export const SLOW = process.env.SLOW === '1';

export const runs = (quick = 10): { numRuns: number; seed: number; verbose: 1 } => {
  const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31);
  return { numRuns: SLOW ? quick * 100 : quick, seed, verbose: 1 };
};
