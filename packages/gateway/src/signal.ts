/** A hint that something changed, so that nobody has to look again and again. */
export interface Signal {
  notify(): void;
  /** Resolves at the next `notify`, or after `timeoutMs`. */
  wait(timeoutMs: number): Promise<void>;
}

export function createSignal(): Signal {
  const waiting = new Set<() => void>();
  return {
    notify() {
      for (const wake of [...waiting]) wake();
    },
    wait: (timeoutMs) =>
      new Promise((resolve) => {
        const wake = () => {
          clearTimeout(timer);
          waiting.delete(wake);
          resolve();
        };
        const timer = setTimeout(wake, timeoutMs);
        waiting.add(wake);
      }),
  };
}

/** Between half and all of 2 s, 4 s, 8 s … 60 s, so that many gateways do not come back at the same moment. */
export function backoffMs(failures: number): number {
  const base = Math.min(60_000, 1000 * 2 ** Math.min(failures, 10));
  return Math.max(1000, (base * (1 + Math.random())) / 2);
}
