/** The body of a request that is one signed text. */
import type { Context } from 'hono';
import { errorOf } from '../errors.ts';
import type { DoorEnv } from './door-env.ts';

/** Throws MEDIA_TYPE_UNSUPPORTED unless it is `text/plain`, TOO_LARGE, REQUEST_INVALID when it is not UTF-8. */
export async function readText(c: Context<DoorEnv>, maxBytes: number): Promise<string> {
  if (!/^text\/plain(;|$)/i.test(c.req.header('content-type') ?? ''))
    throw errorOf('MEDIA_TYPE_UNSUPPORTED', 'Send the signed note as text/plain.');
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
    throw errorOf('REQUEST_INVALID', 'The note is UTF-8 text.', { cause });
  }
}
