/** Where the files of a tlog-tiles log lie: a directory, or a URL. Bounded in time and bytes; what is read is not believed. */
import { constants, open } from 'node:fs/promises';
import { join } from 'node:path';
import { UnavailableError } from '@abaton/verify';
import type { ClientCode } from './codes.ts';

/** A bundle holds 256 entries of 65,535 bytes and their lengths (tlog-tiles, "Log entries"); all other files are smaller. */
const MAX_FILE_BYTES = 256 * (2 + 65_535);
const TIMEOUT_MS = 30_000; // as for evidence

export type ReadLogFile = (path: string) => Promise<Uint8Array | null>;

/** Paths come from the verifier's own numbers, never from the log. Throws what the disk throws, but for a missing file. */
export function openLogDirectory(dir: string): ReadLogFile {
  return async (path) => {
    const file = await open(join(dir, path), constants.O_RDONLY | constants.O_NONBLOCK).catch(
      (error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return null;
        throw error;
      },
    );
    if (!file) return null;
    try {
      const about = await file.stat();
      return about.isFile() && about.size <= MAX_FILE_BYTES ? await file.readFile() : null;
    } finally {
      await file.close();
    }
  };
}

/** `url`: of the log, with or without a slash at its end. 404 and 410 are a missing file. Throws LOG_UNAVAILABLE. */
export function openLogUrl(url: string): ReadLogFile {
  const base = url.endsWith('/') ? url : `${url}/`;
  return async (path) => {
    const unavailable = (why: string, cause?: unknown) =>
      new UnavailableError<ClientCode>('LOG_UNAVAILABLE', `The log ${why}.`, { cause });
    const response = await fetch(new URL(path, base), {
      signal: AbortSignal.timeout(TIMEOUT_MS),
      redirect: 'error',
    }).catch((cause) => {
      throw unavailable('cannot be reached', cause);
    });
    if (response.status === 404 || response.status === 410) return null;
    if (response.status !== 200) throw unavailable(`answered ${response.status}`);
    const chunks: Uint8Array[] = [];
    let length = 0;
    for await (const chunk of response.body ?? []) {
      length += chunk.length;
      if (length > MAX_FILE_BYTES) throw unavailable('answered more than a file of a log can hold');
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  };
}
