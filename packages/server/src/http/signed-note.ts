/** A signed note as the body of a request: `text/plain`, small, UTF-8. */
import type { Context } from 'hono';
import { errorOf } from '../errors.ts';
import type { DoorEnv } from './door-env.ts';

/** Some kilobytes of text and some signature lines of 100 characters; notes with cosignatures are larger. */
const MAX_NOTE_BYTES = 8 * 1024;

/** Throws MEDIA_TYPE_UNSUPPORTED before the body is touched. */
export function requireNote(c: Context<DoorEnv>): void {
  if (!/^text\/plain(;|$)/i.test(c.req.header('content-type') ?? ''))
    throw errorOf('MEDIA_TYPE_UNSUPPORTED', 'Send the signed note as text/plain.');
}

/** Throws TOO_LARGE, REQUEST_INVALID. */
export async function readNote(c: Context<DoorEnv>, maxBytes = MAX_NOTE_BYTES): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of c.req.raw.body ?? []) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw errorOf('TOO_LARGE', `The note may have at most ${maxBytes} bytes.`);
    chunks.push(chunk);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.concat(chunks));
  } catch (cause) {
    throw errorOf('REQUEST_INVALID', 'A signed note is UTF-8 text.', { cause });
  }
}
