/** One check over several devices or files: a failure names the one. */
import { VerificationError } from '../errors.ts';

/** Runs `work` on every item; a failure names the item. */
export function each<T, R>(items: readonly T[], work: (item: T, index: number) => R, what = 'GPU'): R[] {
  return items.map((item, index) => {
    try {
      return work(item, index);
    } catch (error) {
      throw named(error, `${what} ${index}`);
    }
  });
}

/** The same for work that takes time. */
export async function eachInTurn<T, R>(
  items: readonly T[],
  work: (item: T, index: number) => Promise<R>,
  what = 'GPU',
): Promise<R[]> {
  const results: R[] = [];
  for (const [index, item] of items.entries())
    results.push(
      await work(item, index).catch((error: unknown) => {
        throw named(error, `${what} ${index}`);
      }),
    );
  return results;
}

const named = (error: unknown, name: string): unknown =>
  error instanceof VerificationError
    ? new VerificationError(error.code, error.expected, `${name}: ${error.seen}`)
    : error;
