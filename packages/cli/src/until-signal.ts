/** For commands that run until somebody ends them. */

/** Resolves with the first SIGINT or SIGTERM. Listens from the call on. */
export const untilSignal = (): Promise<void> =>
  new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
  });
