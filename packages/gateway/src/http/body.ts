/** Bodies of the LAN side, both ways: one chunk at a time, at the pace of the slower end. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { AbatonError } from '@abaton/verify';
import { errorOf } from '../codes.ts';
import { createPace } from './pace.ts';

/** After an answer that did not wait for the whole body so much, or so long, is read on: the client has to see it. */
const LINGER_MS = 2_000;
const LINGER_BYTES = 16 * 2 ** 20;

export const hasBody = ({ headers }: IncomingMessage): boolean =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;

/** Throws TOO_LARGE, or CONNECTION_CUT when the client goes away or is too slow: what was read is not the whole. */
export async function* readBody(
  request: IncomingMessage,
  maxBytes: number,
  patienceMs?: number,
): AsyncGenerator<Uint8Array> {
  const tooLarge = () => errorOf('TOO_LARGE', `At most ${maxBytes} bytes are taken at once.`);
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) throw tooLarge();
  const pace = createPace(() => request.destroy(new Error('too slow')), patienceMs);
  let length = 0;
  try {
    pace.wait();
    for await (const chunk of request.iterator({ destroyOnReturn: false })) {
      pace.moved(chunk.length);
      length += chunk.length;
      if (length > maxBytes) throw tooLarge();
      yield chunk;
      pace.wait();
    }
  } catch (error) {
    throw error instanceof AbatonError ? error : errorOf('CONNECTION_CUT', 'The upload broke off.', { cause: error });
  } finally {
    pace.end();
  }
}

/** Writes the body and ends the answer. Throws what `body` throws; a client that goes away or is too slow ends it. */
export async function writeBody(
  response: ServerResponse,
  body: AsyncIterable<Uint8Array>,
  patienceMs?: number,
): Promise<void> {
  const pace = createPace(() => response.destroy(), patienceMs);
  try {
    for await (const chunk of body) {
      if (response.destroyed) return;
      if (response.write(chunk)) continue;
      pace.wait();
      await writable(response);
      pace.moved(chunk.length);
    }
    response.end();
  } finally {
    pace.end();
  }
}

function writable(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const settle = () => {
      response.off('drain', settle).off('close', settle);
      resolve();
    };
    response.on('drain', settle).on('close', settle);
    if (response.destroyed) settle();
  });
}

/** Deals with what the client may still be sending after an answer. */
export function settleBody(request: IncomingMessage): void {
  request.on('error', () => {}).resume();
  if (request.complete) return;
  let left = LINGER_BYTES;
  const timer = setTimeout(() => request.destroy(), LINGER_MS).unref();
  request.once('close', () => clearTimeout(timer));
  request.on('data', (chunk: Buffer) => {
    left -= chunk.length;
    if (left < 0) request.destroy();
  });
}
