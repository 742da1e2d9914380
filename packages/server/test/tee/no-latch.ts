/** For tests of what is not about incidents or clocks. */
import type { Latch } from '../../src/tee/latch.ts';

export const NO_LATCH: Pick<Latch, 'open' | 'report' | 'onOpen' | 'onResolved'> = {
  open: () => [],
  report: async () => {},
  onOpen: () => () => {},
  onResolved: () => () => {},
};

/** For a clock: that of the host. */
export const HOST_CLOCK = { nowMs: Date.now, clockBehind: () => false };
