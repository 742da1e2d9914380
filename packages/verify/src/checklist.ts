/** Runs named checks in order and writes down what became of each. */
import { VerificationError } from './errors.ts';
import { CHECKS, type Check, type CheckId } from './verdict.ts';

/** Stands for something that is not there to be checked, through nobody's fault: the check does not run, and says why. */
export class NotAsked {
  readonly reason: string;

  constructor(reason: string) {
    this.reason = reason;
  }
}

export const askedFor = <T>(value: T | null, orElse: string): T | NotAsked => value ?? new NotAsked(orElse);

type Given<N extends readonly unknown[]> = { [K in keyof N]: Exclude<N[K], null | NotAsked> };

export class Checklist {
  readonly #done = new Map<CheckId, Check>();

  /**
   * Runs `work` if every need is there. Needs are results of earlier checks (null when they did not pass) and inputs.
   * Returns what `work` returns, or null: the check has failed, or did not run, which `work` says with a NotAsked. A
   * text that it returns is written down.
   */
  async step<const N extends readonly unknown[], T>(
    id: CheckId,
    needs: N,
    work: (...needs: Given<N>) => T | NotAsked | Promise<T | NotAsked>,
  ): Promise<T | null> {
    const notAsked = needs.find((need) => need instanceof NotAsked);
    if (notAsked || needs.includes(null)) {
      this.#note(id, notAsked ? { status: 'not-run', seen: notAsked.reason } : { status: 'not-run' });
      return null;
    }
    try {
      const result = await work(...(needs as unknown as Given<N>));
      if (result instanceof NotAsked) {
        this.#note(id, { status: 'not-run', seen: result.reason });
        return null;
      }
      this.#note(id, typeof result === 'string' ? { status: 'pass', seen: result } : { status: 'pass' });
      return result;
    } catch (error) {
      if (!(error instanceof VerificationError)) throw error;
      const { code, expected, seen } = error;
      this.#note(id, { status: 'fail', code, expected, seen });
      return null;
    }
  }

  #note(id: CheckId, outcome: Omit<Check, 'id' | 'title'>): void {
    if (this.#done.has(id)) throw new Error(`check ${id} was noted twice`); // the second would hide the first
    this.#done.set(id, { id, title: CHECKS[id], ...outcome });
  }

  /** Every check that was due, in the order of CHECKS. */
  checks(): Check[] {
    return (Object.keys(CHECKS) as CheckId[]).flatMap((id) => this.#done.get(id) ?? []);
  }
}
