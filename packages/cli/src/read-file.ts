/** Files that people name: bounded, and never waited for (a pipe). Throws USAGE for what cannot be read. */
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import { ConfigurationError } from '@abaton/verify';

const MAX_BYTES = 16 * 2 ** 20; // the largest real file, GPU evidence of twelve devices, has 150 kB

export const unusable = (file: string, why: string, cause?: unknown): never => {
  throw new ConfigurationError('USAGE', `${file} ${why}.`, { cause });
};

export function readBytes(file: string): Buffer {
  let descriptor: number | null = null;
  try {
    descriptor = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
    const about = fstatSync(descriptor);
    if (!about.isFile()) return unusable(file, 'is no file');
    if (about.size > MAX_BYTES) return unusable(file, `has more than ${MAX_BYTES} bytes`);
    return readFileSync(descriptor);
  } catch (cause) {
    if (cause instanceof ConfigurationError) throw cause;
    return unusable(file, 'cannot be read', cause);
  } finally {
    if (descriptor !== null) closeSync(descriptor);
  }
}

/** Exactly as it is: a digest is taken of it, or a signature made. */
export function readText(file: string): string {
  const bytes = readBytes(file);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    return unusable(file, 'is not UTF-8', cause);
  }
}

export function readJson(file: string): unknown {
  const text = readText(file);
  try {
    return JSON.parse(text);
  } catch (cause) {
    return unusable(file, 'is not JSON', cause);
  }
}
