/** Resources that take a signed note: `text/plain`, small, UTF-8. What it is worth its signatures say; anybody may post one. */
import type { Context, Hono } from 'hono';
import { errorOf } from '../errors.ts';
import type { DoorEnv } from './door-env.ts';
import { addressOf, createRateLimit } from './rate-limit.ts';

/** Some kilobytes of text and some signature lines of 100 characters; notes with cosignatures are larger. */
const MAX_NOTE_BYTES = 8 * 1024;

export interface NoteResource {
  path: string;
  /** Notes a second, of all paths that share the answer; as many again may come at once. */
  perSecond: number;
  maxBytes?: number;
  take: (c: Context<DoorEnv>, note: string) => Promise<Response>;
}

/**
 * Declares POST; every other method answers METHOD_NOT_ALLOWED. What is no note is refused as MEDIA_TYPE_UNSUPPORTED,
 * before the body is touched, TOO_LARGE or REQUEST_INVALID, and too many as OVERLOADED.
 */
export function acceptNote(
  app: Hono<DoorEnv>,
  { path, perSecond, maxBytes = MAX_NOTE_BYTES, take }: NoteResource,
): void {
  const limit = createRateLimit({ perSecond, burst: perSecond });
  app.post(path, async (c) => {
    if (!/^text\/plain(;|$)/i.test(c.req.header('content-type') ?? ''))
      throw errorOf('MEDIA_TYPE_UNSUPPORTED', 'Send the signed note as text/plain.');
    limit.take(addressOf(c));
    return take(c, await readNote(c, maxBytes));
  });
  app.all(path, (c) => {
    c.header('allow', 'POST');
    throw errorOf('METHOD_NOT_ALLOWED', 'This resource supports POST.');
  });
}

async function readNote(c: Context<DoorEnv>, maxBytes: number): Promise<string> {
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
