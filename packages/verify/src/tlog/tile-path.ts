/** Paths of C2SP tlog-tiles: `tile/<level>/<n>[.p/<width>]` and `tile/entries/<n>[.p/<width>]`. */

/** Hashes in a full tile, entries in a full bundle (tlog-tiles: tiles of height 8). */
export const TILE_WIDTH = 256;
export const TILE_HEIGHT = 8;

export interface TileAddress {
  level: number | 'entries';
  n: number;
  /** 1..255 for a partial tile, 256 for a full one. */
  width: number;
}

/** `n` in groups of three digits, an `x` before all but the last: 1234067 is `x001/x234/067`. */
export function tilePath({ level, n, width }: TileAddress): string {
  const groups = String(n)
    .padStart(Math.ceil(String(n).length / 3) * 3, '0')
    .match(/\d{3}/g)!;
  const path = groups.map((digits, i) => (i < groups.length - 1 ? `x${digits}` : digits)).join('/');
  return `tile/${level}/${path}${width < TILE_WIDTH ? `.p/${width}` : ''}`;
}

/** Null when it is no such path; every address has exactly one spelling. */
export function parseTilePath(path: string): TileAddress | null {
  const match = /^tile\/(entries|\d{1,2})\/((?:x\d{3}\/)*\d{3})(?:\.p\/(\d{1,3}))?$/.exec(path);
  if (match === null) return null;
  const address: TileAddress = {
    level: match[1] === 'entries' ? 'entries' : Number(match[1]),
    n: Number(match[2]!.replace(/[x/]/g, '')),
    width: Number(match[3] ?? TILE_WIDTH),
  };
  // tlog-tiles: level 0..63. The comparison refuses leading zeros, width 0 and a partial path for a full tile.
  if (address.level !== 'entries' && address.level > 63) return null;
  return Number.isSafeInteger(address.n) && address.width > 0 && tilePath(address) === path ? address : null;
}

/** How many hashes (or entries) tile `n` of that level holds in a tree of `size`: 0..256. */
export function tileWidth(level: number | 'entries', n: number, size: number): number {
  const count = Math.floor(size / TILE_WIDTH ** (level === 'entries' ? 0 : level));
  return Math.min(TILE_WIDTH, Math.max(0, count - n * TILE_WIDTH));
}

/** Splits an entry bundle (u16 big-endian length ‖ entry, repeated). Null when it does not come out even. */
export function parseBundle(bundle: Uint8Array): Uint8Array[] | null {
  const view = new DataView(bundle.buffer, bundle.byteOffset, bundle.byteLength);
  const entries: Uint8Array[] = [];
  let at = 0;
  while (at + 2 <= bundle.length) {
    const end = at + 2 + view.getUint16(at);
    if (end > bundle.length) return null;
    entries.push(bundle.subarray(at + 2, end));
    at = end;
  }
  return at === bundle.length ? entries : null;
}
