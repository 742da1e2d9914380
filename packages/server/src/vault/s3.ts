/**
 * A folder in a bucket of any S3 with conditional puts: whole objects, in bounded time and memory, with bounded retries.
 * `BLOBS_URL` is `https://KEY:SECRET@host/bucket/prefix?region=…`. The provider lies outside the trust boundary: what
 * comes back is checked by whoever sealed or signed it.
 */
import { randomInt } from 'node:crypto';
import { open } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AbatonError } from '@abaton/verify';
import { S3mini, S3ServiceError, type UploadPart } from 's3mini';
import { errorOf } from '../errors.ts';

/**
 * Objects above it go up in parts of it, one in memory at a time. S3 takes parts of 5 MiB to 5 GiB and at most 10,000 of
 * them (Amazon S3 User Guide, "Multipart upload limits"): with 8 MiB an object may have 78 GiB, far above an instance.
 */
const PART_BYTES = 8 * 2 ** 20;
/** From the request to the first byte of the answer; a part of 8 MiB over 2 Mbit/s takes 34 s. */
const ANSWER_MS = 60_000;
/** S3 answers 503 "Slow Down" for seconds while it splits a partition; three more attempts span about 3 s. */
const PAUSES_MS = [100, 500, 2000];
/** Of one page (Amazon S3 API Reference, ListObjectsV2: at most 1000). */
const PAGE_KEYS = 1000;
const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/;

/** Throws SETTING_INVALID when the URL does not name a bucket, or names it over plain http outside this machine. */
function parseBlobsUrl(text: string): {
  endpoint: string;
  prefix: string;
  region: string;
  key: string;
  secret: string;
} {
  const refuse = () =>
    errorOf(
      'SETTING_INVALID',
      'BLOBS_URL must be https://KEY:SECRET@host/bucket/prefix?region=…; plain http is for loopback alone.',
    );
  const url = URL.parse(text);
  if (!url || !(url.protocol === 'https:' || (url.protocol === 'http:' && LOOPBACK.test(url.hostname)))) throw refuse();
  const [bucket = '', ...folders] = url.pathname.slice(1).split('/').filter(Boolean);
  if (!/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(bucket) || !folders.every((name) => /^[\w.-]+$/.test(name)))
    throw refuse();
  const [key, secret] = [decodeURIComponent(url.username), decodeURIComponent(url.password)];
  if (!key || !secret) throw refuse();
  return {
    endpoint: `${url.origin}/${bucket}`,
    prefix: folders.map((name) => `${name}/`).join(''),
    region: url.searchParams.get('region') ?? 'auto',
    key,
    secret,
  };
}

export class S3Folder {
  readonly #s3: S3mini;
  readonly #prefix: string;

  private constructor(s3: S3mini, prefix: string) {
    this.#s3 = s3;
    this.#prefix = prefix;
  }

  /** Throws SETTING_INVALID when the URL is none, or the provider refuses it; STORE_UNAVAILABLE. */
  static async open(url: string): Promise<S3Folder> {
    const { endpoint, prefix, region, key, secret } = parseBlobsUrl(url);
    const s3 = new S3mini({ accessKeyId: key, secretAccessKey: secret, endpoint, region, fetch: fetchInTime });
    const folder = new S3Folder(s3, prefix);
    try {
      await folder.#list('', undefined, 1);
    } catch (error) {
      const status = statusOf(error);
      if (status !== null && status >= 300 && status < 500)
        throw errorOf('SETTING_INVALID', `The provider refuses what BLOBS_URL asks: HTTP ${status}.`);
      throw error;
    }
    return folder;
  }

  /** The same bucket, `name/` below. */
  folder(name: string): S3Folder {
    return new S3Folder(this.#s3, `${this.#prefix}${name}/`);
  }

  /** Durable on return. With `ifAbsent` false says that there is an object under that key already, which stays as it is. */
  async put(key: string, bytes: Uint8Array, { ifAbsent = false } = {}): Promise<boolean> {
    const headers = (ifAbsent ? { 'if-none-match': '*' } : {}) as Record<`x-amz-${string}`, string>;
    try {
      await tried(() =>
        this.#s3.putObject(this.#prefix + key, bytes, 'application/octet-stream', undefined, headers, bytes.length),
      );
      return true;
    } catch (error) {
      if (ifAbsent && statusOf(error) === 412) return false;
      throw error;
    }
  }

  /** Puts the file under a key that names its content, so that it does not matter whether it is there already. */
  async putFile(key: string, path: string, bytes: number): Promise<void> {
    const file = await open(path, 'r');
    try {
      const part = async (length: number) => {
        const buffer = Buffer.allocUnsafe(length);
        for (let at = 0; at < length; ) {
          const { bytesRead } = await file.read(buffer, at, length - at);
          if (bytesRead === 0) throw new Error('a file that is being stored became shorter');
          at += bytesRead;
        }
        return buffer;
      };
      if (bytes <= PART_BYTES) await this.put(key, await part(bytes), { ifAbsent: true });
      else await this.#putParts(this.#prefix + key, bytes, part);
    } finally {
      await file.close();
    }
  }

  /** The object, or `length` bytes from `offset`, fewer when it ends before. Throws STORE_UNAVAILABLE, also when it is absent. */
  async *get(key: string, range?: { offset: number; length: number }): AsyncGenerator<Uint8Array> {
    if (range?.length === 0) return;
    const [from, until] = range ? [range.offset, range.offset + range.length] : [0, undefined];
    const response = await tried(() =>
      this.#s3.getObjectRaw(this.#prefix + key, range === undefined, from, until),
    ).catch((error: unknown) => {
      if (statusOf(error) === 416) return null; // the range begins behind the end
      throw error;
    });
    if (!response?.body) return;
    if (range !== undefined && response.status !== 206) {
      await response.body.cancel();
      throw errorOf('STORE_UNAVAILABLE', 'The blob store ignored the range that was asked for.');
    }
    let left = range?.length ?? Number.POSITIVE_INFINITY;
    try {
      for await (const piece of response.body) {
        yield piece.subarray(0, left); // there are servers that send more than was asked for
        left -= piece.length;
        if (left <= 0) return;
      }
    } catch (error) {
      throw translated(error);
    }
  }

  /** The whole object, or null when there is none. Throws STORE_UNAVAILABLE, also when it is larger than `maxBytes`. */
  async read(key: string, maxBytes: number): Promise<Buffer | null> {
    const pieces: Uint8Array[] = [];
    let bytes = 0;
    try {
      for await (const piece of this.get(key)) {
        bytes += piece.length;
        if (bytes > maxBytes) throw errorOf('STORE_UNAVAILABLE', `An object has more than ${maxBytes} bytes.`);
        pieces.push(piece);
      }
    } catch (error) {
      if (statusOf(error) === 404) return null;
      throw error;
    }
    return Buffer.concat(pieces, bytes);
  }

  /** Keys in the folder and below, relative to it, in the order of their bytes. */
  async *list(prefix = ''): AsyncGenerator<string> {
    let token: string | undefined;
    do {
      const page = await this.#list(prefix, token, PAGE_KEYS);
      for (const { Key } of page.objects ?? []) if (Key.startsWith(this.#prefix)) yield Key.slice(this.#prefix.length);
      token = page.nextContinuationToken;
    } while (token !== undefined);
  }

  /** An absent object is not an error. */
  async delete(key: string): Promise<void> {
    await tried(() => this.#s3.deleteObject(this.#prefix + key)).catch((error: unknown) => {
      if (statusOf(error) !== 404) throw error;
    });
  }

  async #list(prefix: string, token: string | undefined, keys: number) {
    // To s3mini the first parameter is the path of the request.
    const page = await tried(() => this.#s3.listObjectsPaged('/', this.#prefix + prefix, keys, token));
    if (!page) throw refused(404);
    return page;
  }

  async #putParts(key: string, bytes: number, read: (length: number) => Promise<Buffer>): Promise<void> {
    const id = await tried(() => this.#s3.getMultipartUploadId(key));
    try {
      const parts: UploadPart[] = [];
      for (let at = 0; at < bytes; at += PART_BYTES) {
        const part = await read(Math.min(PART_BYTES, bytes - at));
        parts.push(await tried(() => this.#s3.uploadPart(key, id, part, parts.length + 1)));
      }
      await tried(() => this.#s3.completeMultipartUpload(key, id, parts));
    } catch (error) {
      await this.#s3.abortMultipartUpload(key, id).catch(() => undefined); // else the bucket's lifecycle rule does
      throw error;
    }
  }
}

/** Redirects are refused: they would take signed headers elsewhere. */
const fetchInTime: typeof fetch = async (input, init) => {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), ANSWER_MS);
  try {
    return await fetch(input, { ...init, redirect: 'error', signal: controller.signal });
  } finally {
    clearTimeout(timer);
  }
};

/** Again after a failure that may pass: no answer, 429, or 5xx. */
async function tried<T>(work: () => Promise<T>): Promise<T> {
  for (const pauseMs of PAUSES_MS)
    try {
      return await work();
    } catch (error) {
      const status = error instanceof S3ServiceError ? error.status : null;
      if (status !== null && status < 500 && status !== 429) throw refused(status);
      await sleep(randomInt(pauseMs / 2, pauseMs)); // not all at once
    }
  return work().catch((error: unknown) => {
    throw translated(error);
  });
}

const statuses = new WeakMap<object, number>();
/** The HTTP status that an error of this file came from, or null. */
const statusOf = (error: unknown): number | null => statuses.get(error as object) ?? null;

function refused(status: number): AbatonError {
  const error = errorOf('STORE_UNAVAILABLE', `The blob store answered HTTP ${status}.`);
  statuses.set(error, status);
  return error;
}

/** Neither message nor cause: they may quote the URL and the keys in it. */
function translated(error: unknown): AbatonError {
  if (error instanceof S3ServiceError) return refused(error.status);
  const { code } = ((error as Error).cause ?? error) as NodeJS.ErrnoException;
  const why = /^[A-Z_]+$/.test(code ?? '') ? `: ${code}` : '';
  return errorOf('STORE_UNAVAILABLE', `The blob store does not answer${why}.`);
}
