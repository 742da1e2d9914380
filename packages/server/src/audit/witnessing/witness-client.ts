/** Asks a witness for its cosignature (C2SP tlog-witness, the client's side). What it answers is not believed here. */
import { createHash } from 'node:crypto';

/** What a witness has to say to a checkpoint. */
export type WitnessAnswer =
  | { kind: 'cosigned'; lines: string }
  /** It has cosigned another size last. */
  | { kind: 'conflict'; size: number }
  /** It says that the histories do not fit together. */
  | { kind: 'inconsistent' }
  /** `status`: 0 when it did not answer, or not by the protocol. */
  | { kind: 'trouble'; status: number };

const TIMEOUT_MS = 5_000; // the tail may be unwitnessed for so long (gate), and a witness answers within one round trip
const MAX_ANSWER_BYTES = 64 * 1024; // some signature lines of 3.3 kB; a checkpoint with its cosignatures

/** Never throws. */
export async function submitCheckpoint(
  url: string,
  { oldSize, hashes, note }: { oldSize: number; hashes: readonly string[]; note: string },
): Promise<WitnessAnswer> {
  const body = `old ${oldSize}\n${hashes.map((hash) => `${hash}\n`).join('')}\n${note}`;
  const answer = await ask(`${prefixOf(url)}/add-checkpoint`, { method: 'POST', body });
  switch (answer.status) {
    case 200:
      return { kind: 'cosigned', lines: answer.text };
    case 409: {
      const isSize = /^(0|[1-9]\d{0,15})\n?$/.test(answer.text);
      return isSize ? { kind: 'conflict', size: Number(answer.text) } : { kind: 'trouble', status: 409 };
    }
    case 422:
      return { kind: 'inconsistent' };
    default:
      return { kind: 'trouble', status: answer.status };
  }
}

/** The checkpoint that the witness cosigned last for that log; null when it does not say. Never throws. */
export async function fetchWitnessed(url: string, origin: string): Promise<string | null> {
  const hash = createHash('sha256').update(origin).digest('hex');
  const { status, text } = await ask(`${prefixOf(url)}/${hash}/checkpoint`, { method: 'GET' });
  return status === 200 ? text : null;
}

const prefixOf = (url: string): string => url.replace(/\/+$/, '');

async function ask(url: string, init: RequestInit): Promise<{ status: number; text: string }> {
  try {
    const response = await fetch(url, { ...init, redirect: 'error', signal: AbortSignal.timeout(TIMEOUT_MS) });
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    for await (const chunk of response.body ?? []) {
      bytes += chunk.length;
      if (bytes > MAX_ANSWER_BYTES) return { status: 0, text: '' };
      chunks.push(chunk);
    }
    return { status: response.status, text: Buffer.concat(chunks).toString() };
  } catch {
    return { status: 0, text: '' };
  }
}
