/** Parts that a test is not about, as they are where nothing of them is configured. */
import type { WitnessState } from '../../src/audit/witnessing/witnessing.ts';
import type { Latch } from '../../src/tee/latch.ts';

export const NO_LATCH: Pick<Latch, 'open' | 'report' | 'onOpen' | 'onResolved'> = {
  open: () => [],
  report: async () => {},
  onOpen: () => () => {},
  onResolved: () => () => {},
};

/** For a clock: that of the host. */
export const HOST_CLOCK = { nowMs: Date.now, clockBehind: () => false };

/** As where the manifest names none. */
export const NO_WITNESSES = (): WitnessState => ({
  ...{ label: 'unwitnessed', quorum: 0, witnesses: 0, cosignedSize: 0, tailAgeMs: 0 },
});

export const NO_KEYHOLDER = () => 'none' as const;
