/**
 * The clock belongs to the host (I11). Ours never goes behind the last log entry or behind itself, and runs on while the
 * host's is set back; then it also says so, and the gate closes: with an old date the host could have expired collateral
 * accepted, and nobody could order what is recorded.
 */

export interface Clock {
  /** Milliseconds since 1970, never smaller than any answer before. */
  nowMs(): number;
  /** True while the host's clock is further behind than its own corrections explain. */
  behind(): boolean;
}

/** RFC 4120 section 7.5.8 takes so much between machines; corrections of a clock are far smaller. */
const TOLERANCE_MS = 5 * 60_000;

export interface ClockOptions {
  /** Time of the newest log entry; -Infinity for an empty log. */
  lastEntryMs: number;
  /** For tests. */
  wallMs?: () => number;
  monotonicMs?: () => number;
}

export function createClock({
  lastEntryMs,
  wallMs = Date.now,
  monotonicMs = () => performance.now(),
}: ClockOptions): Clock {
  let latest = { ms: lastEntryMs, monotonic: monotonicMs() };
  /** What it must be at least: the latest answer, and the time that has gone by since. */
  const floorMs = (): number => latest.ms + Math.max(0, monotonicMs() - latest.monotonic);
  return {
    nowMs() {
      latest = { ms: Math.max(wallMs(), Math.floor(floorMs())), monotonic: monotonicMs() };
      return latest.ms;
    },
    behind: () => wallMs() < floorMs() - TOLERANCE_MS,
  };
}
