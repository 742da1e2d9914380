/** The newest integrity refusal, kept over restarts: it may be over when somebody looks, and has to be seen. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { replaceDurably } from './queue/durable.ts';

export interface Refusal {
  at: string;
  codes: string[];
}

export interface RefusalRecord {
  newest(): Refusal | null;
  /** Durable on return, unless the disk is full: then it is known until the process ends. */
  keep(refusal: Refusal): Promise<void>;
}

/** `DIR/last-refusal.json`. A file that cannot be read counts as none: it is a notice, not a lock. */
export async function openRefusals(dir: string): Promise<RefusalRecord> {
  const file = join(dir, 'last-refusal.json');
  let newest = await readFile(file, 'utf8').then(parseRefusal, () => null);
  return {
    newest: () => newest,
    async keep(refusal) {
      newest = refusal;
      await replaceDurably(file, [Buffer.from(`${JSON.stringify({ version: 1, ...refusal })}\n`)]).catch(() => {});
    },
  };
}

function parseRefusal(text: string): Refusal | null {
  try {
    const { version, at, codes } = JSON.parse(text) as Record<string, unknown>;
    const known = version === 1 && typeof at === 'string' && Array.isArray(codes);
    return known ? { at, codes: codes.map(String) } : null;
  } catch {
    return null;
  }
}
