/** A hint between rooms of one process that something changed, so that nobody has to look again and again. */
export interface Signal {
  notify(): void;
  /** Resolves at the next `notify`, or after `timeoutMs`: another process may have made the change. */
  wait(timeoutMs: number): Promise<void>;
}

export function createSignal(): Signal {
  const waiting = new Set<() => void>();
  return {
    notify() {
      for (const wake of waiting) wake();
      waiting.clear();
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
