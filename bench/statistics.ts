/** The value below which the share `q` of the samples lies (nearest rank). `samples` must not be empty. */
export function quantile(samples: readonly number[], q: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)]!;
}

export const mean = (samples: readonly number[]): number =>
  samples.reduce((sum, sample) => sum + sample, 0) / samples.length;

const WARM_UP = 5;

/** Times of each work in ms, the works in turns: a machine that changes its pace does so for all of them. */
export async function takeTurns(rounds: number, works: readonly (() => Promise<unknown>)[]): Promise<number[][]> {
  const times = works.map((): number[] => []);
  for (let round = -WARM_UP; round < rounds; round++)
    for (const [index, work] of works.entries()) {
      const beganMs = performance.now();
      await work();
      if (round >= 0) times[index]!.push(performance.now() - beganMs);
    }
  return times;
}
