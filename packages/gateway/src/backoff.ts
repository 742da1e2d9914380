/** How long to wait before the next try. */

/** Between half and all of 2 s, 4 s, 8 s … `mostMs`, so that many gateways do not come back at the same moment. */
export function backoffMs(failures: number, mostMs = 60_000): number {
  const base = Math.min(mostMs, 1000 * 2 ** Math.min(failures, 10));
  return Math.max(1000, (base * (1 + Math.random())) / 2);
}
