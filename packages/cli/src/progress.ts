/** One line on stderr that is redrawn, on a terminal only: pipes and `--json` see nothing of it. */

const BAR_CELLS = 24;
const REDRAW_MS = 100;

export interface Progress {
  /** `done` of `total` bytes. */
  bytes(done: number, total: number): void;
  /** Work whose end is not known. */
  note(text: string): void;
  /** Clears the line. */
  end(): void;
}

export function createProgress(label: string, stream: NodeJS.WriteStream = process.stderr): Progress {
  let drawnAtMs = 0;
  const draw = (text: string, force: boolean) => {
    const nowMs = performance.now();
    if (!stream.isTTY || (!force && nowMs - drawnAtMs < REDRAW_MS)) return;
    drawnAtMs = nowMs;
    stream.write(`\r\u001b[2K${label} ${text}`);
  };
  return {
    bytes(done, total) {
      const share = total === 0 ? 1 : done / total;
      const filled = Math.round(share * BAR_CELLS);
      const bar = '█'.repeat(filled) + '░'.repeat(BAR_CELLS - filled);
      draw(`${bar} ${Math.floor(share * 100)} %  ${formatBytes(done)} of ${formatBytes(total)}`, done === total);
    },
    note: (text) => draw(text, true),
    end() {
      if (stream.isTTY) stream.write('\r\u001b[2K');
    },
  };
}

/** 1536 → '1.5 kB' (powers of 1000, as in SI). */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}
