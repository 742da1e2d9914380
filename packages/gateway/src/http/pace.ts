/** A program on the LAN that owes us bytes, or takes none: cut after its patience, so that no stream is held. */
export interface Pace {
  /** From now on it is the other end that we wait for. */
  wait(): void;
  /** It has sent or taken so many bytes; until the next `wait` it is we who are slow. */
  moved(bytes: number): void;
  end(): void;
}

/** Of one silence: nginx's client_body_timeout and send_timeout. */
const PATIENCE_MS = 60_000;
/** Of all silences together, beyond one: the time of the bytes at 500 bytes/s, Apache mod_reqtimeout's `MinRate`. */
const MIN_BYTES_PER_MS = 0.5;
const LOOK_MS = 1_000;

/** `tooSlow` may be called more than once. */
export function createPace(tooSlow: () => void, patienceMs = PATIENCE_MS): Pace {
  let waiting = false;
  let silentMs = 0;
  let waitedMs = 0;
  let bytes = 0;
  const lookMs = Math.min(LOOK_MS, patienceMs);
  const watch = setInterval(() => {
    if (!waiting) return;
    silentMs += lookMs;
    waitedMs += lookMs;
    if (silentMs > patienceMs || waitedMs > patienceMs + bytes / MIN_BYTES_PER_MS) tooSlow();
  }, lookMs).unref();
  return {
    wait() {
      waiting = true;
    },
    moved(count) {
      waiting = false;
      silentMs = 0;
      bytes += count;
    },
    end: () => clearInterval(watch),
  };
}
