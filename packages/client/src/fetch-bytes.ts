/** One HTTP exchange with a service that may be slow, endless or somebody else: bounded in time and bytes, not redirected. */
import { UnavailableError } from '@abaton/verify';

export interface FetchedBytes {
  headers: Headers;
  bytes: Uint8Array;
}

/** What to send (default: GET, no body), and the limits. */
export interface FetchLimits extends Pick<RequestInit, 'method' | 'headers' | 'body'> {
  timeoutMs: number;
  maxBytes: number;
}

/**
 * The body of an answer with status 200. Anything else is thrown as what `unavailable` makes of it: `why` continues a
 * sentence that begins with the address.
 */
export async function fetchBytes(
  url: string,
  { timeoutMs, maxBytes, ...init }: FetchLimits,
  unavailable: (why: string, cause?: unknown) => UnavailableError,
): Promise<FetchedBytes> {
  try {
    const response = await fetch(url, { ...init, signal: AbortSignal.timeout(timeoutMs), redirect: 'error' });
    if (response.status !== 200) throw unavailable(`answered ${response.status}`);
    const chunks: Uint8Array[] = [];
    let length = 0;
    for await (const chunk of response.body ?? []) {
      chunks.push(chunk);
      length += chunk.length;
      if (length > maxBytes) throw unavailable(`answered more than ${maxBytes} bytes`);
    }
    return { headers: response.headers, bytes: Buffer.concat(chunks) };
  } catch (cause) {
    if (cause instanceof UnavailableError) throw cause;
    throw unavailable('cannot be reached', cause);
  }
}
