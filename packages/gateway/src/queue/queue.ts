/**
 * Uploads that came while the door was closed, sealed on disk in the order in which they were acknowledged.
 *
 * | file in `DIR/queue` | meaning |
 * |---|---|
 * | `ID.part` | an upload that is arriving; never acknowledged, deleted at start |
 * | `NUMBER-ID.upload` | acknowledged; NUMBER (16 digits) grows |
 * | `ID.answer` | what the service said; with it the upload is settled, and forwarded when there is no upload file any more |
 *
 * The upload is durable before its id is given out, the answer before the upload is deleted. A crash between forwarding and
 * the answer forwards again: at least once. STOW-RS is idempotent: an instance that is stored already is stored still.
 */
import { randomBytes } from 'node:crypto';
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { errorOf } from '../codes.ts';
import { createSignal } from '../signal.ts';
import { commitPart, isFull, makeDirectory, syncDirectory, writePart } from './durable.ts';
import { openKeyFile } from './key-file.ts';
import { ID_BYTES, openFile, sealFile } from './sealed-file.ts';

/** What is sent on; the body follows it in the sealed file. */
export interface QueuedRequest {
  /** Path and query. */
  path: string;
  headers: Record<string, string>;
}

/** What became of an upload. */
export interface Answer {
  state: 'forwarded' | 'refused';
  /** Of the service; null: the upload could not be read, and was not sent. */
  status: number | null;
  contentType: string | null;
  body: string;
  at: string;
}

export type Found = { state: 'queued' } | Answer;

export interface Queue {
  /** Returns the id when the upload is durable. Throws QUEUE_FULL, and what `body` throws; then nothing is left. */
  add(request: QueuedRequest, body: AsyncIterable<Uint8Array>): Promise<string>;
  /** The oldest that waits and that `isDue`. */
  next(isDue: (id: string) => boolean): string | null;
  /** Throws OBJECT_DAMAGED, here or while the body is read. */
  read(id: string): Promise<{ request: QueuedRequest; body: AsyncIterable<Uint8Array> }>;
  /** Durable on return. A forwarded upload is deleted. */
  settle(id: string, answer: Answer): Promise<void>;
  /** Null: not known. */
  find(id: string): Promise<Found | null>;
  /** Forgets a settled upload and its answer. Throws NOT_FOUND or NOT_SETTLED. */
  remove(id: string): Promise<void>;
  counts(): { queued: number; refused: number; bytes: number };
  /** Resolves when something was added, or after `timeoutMs`. */
  changed(timeoutMs: number): Promise<void>;
  close(): void;
}

interface Entry {
  /** Null: deleted, only the answer is left. */
  upload: string | null;
  bytes: number;
  settledAtMs: number | null;
}

const UPLOAD = /^(\d{16})-([0-9a-f]{32})\.upload$/;
const ANSWER = /^([0-9a-f]{32})\.answer$/;
/** Of the answer to a forwarded upload. A refused one is kept until somebody deletes it: a clock must not delete data. */
const KEPT_MS = 7 * 86_400_000;
const SWEEP_MS = 3_600_000;
const MAX_ENTRIES = 100_000; // of uploads, and of answers alone: each takes some 200 bytes of memory and a file or two
const LENGTH_BYTES = 4;

/** Opens (or makes) `dir`. Throws QUEUE_IN_USE and QUEUE_KEY_INVALID. */
export async function openQueue(dir: string, maxBytes: number): Promise<Queue> {
  await makeDirectory(join(dir, 'queue'));
  const lock = takeLock(join(dir, 'lock'));
  try {
    return await openLocked(dir, maxBytes, lock);
  } catch (error) {
    lock.close();
    throw error;
  }
}

async function openLocked(dir: string, maxBytes: number, lock: DatabaseSync): Promise<Queue> {
  const folder = join(dir, 'queue');
  const key = await openKeyFile(dir);
  const { entries, lastNumber } = await readFolder(folder);
  await finishInterrupted(folder, key, entries);
  const added = createSignal();
  let number = lastNumber;
  let bytes = [...entries.values()].reduce((sum, entry) => sum + entry.bytes, 0);
  let uploads = [...entries.values()].filter(({ upload }) => upload !== null).length;
  const answerFile = (id: string) => join(folder, `${id}.answer`);

  /** Counted out before it is unlinked: whoever comes meanwhile finds it gone. */
  const dropUpload = async (entry: Entry): Promise<void> => {
    const { upload } = entry;
    if (upload === null) return;
    bytes -= entry.bytes;
    uploads--;
    Object.assign(entry, { upload: null, bytes: 0 });
    await rm(join(folder, upload), { force: true });
    await syncDirectory(folder);
  };
  /** The upload first: without its answer it would wait again. */
  const forget = async (id: string, entry: Entry): Promise<void> => {
    entries.delete(id);
    await dropUpload(entry);
    await rm(answerFile(id), { force: true });
  };
  const sweep = async (): Promise<void> => {
    for (const [id, entry] of entries) {
      if (entry.settledAtMs === null || entry.upload !== null) continue;
      if (Date.now() > entry.settledAtMs + KEPT_MS || entries.size - uploads > MAX_ENTRIES) await forget(id, entry);
    }
  };
  await sweep();
  const sweeping = setInterval(() => void sweep().catch(() => {}), SWEEP_MS).unref(); // the next one tries again

  const full = (cause?: unknown) => errorOf('QUEUE_FULL', 'The queue has no room for this upload.', { cause });

  return {
    async add(request, body) {
      if (uploads >= MAX_ENTRIES) throw full();
      const id = randomBytes(ID_BYTES).toString('hex');
      const part = join(folder, id);
      const upload = `${String(++number).padStart(16, '0')}-${id}.upload`;
      let reserved = 0;
      try {
        const sealed = sealFile(key, 'upload', id, withRequest(request, body));
        const length = await writePart(
          part,
          (async function* () {
            for await (const chunk of sealed) {
              if (bytes + chunk.length > maxBytes) throw full();
              reserved += chunk.length;
              bytes += chunk.length;
              yield chunk;
            }
          })(),
        );
        await commitPart(part, join(folder, upload));
        entries.set(id, { upload, bytes: length, settledAtMs: null });
        uploads++;
      } catch (error) {
        bytes -= reserved;
        await rm(join(folder, upload), { force: true }).catch(() => {}); // it is refused, and must not go out after a restart
        throw isFull(error) ? full(error) : error;
      }
      added.notify();
      return id;
    },

    next(isDue) {
      for (const [id, { settledAtMs }] of entries) if (settledAtMs === null && isDue(id)) return id;
      return null;
    },

    async read(id) {
      const chunks = openFile(key, 'upload', id, join(folder, entries.get(id)!.upload!));
      const { value: first } = await chunks.next(); // holds the request: it is shorter than a chunk
      const end = LENGTH_BYTES + first!.readUInt32BE(0);
      const request = JSON.parse(first!.toString('utf8', LENGTH_BYTES, end)) as QueuedRequest;
      return {
        request,
        body: (async function* () {
          if (first!.length > end) yield first!.subarray(end);
          yield* chunks;
        })(),
      };
    },

    async settle(id, answer) {
      const entry = entries.get(id)!;
      const write = async () => {
        await rm(`${answerFile(id)}.part`, { force: true });
        await writePart(answerFile(id), sealFile(key, 'answer', id, [Buffer.from(JSON.stringify(answer))]));
        await commitPart(answerFile(id), answerFile(id));
      };
      const done = answer.state === 'forwarded';
      const unwritten = await write().then(
        () => false,
        (error) => {
          if (done && isFull(error)) return true; // what fills the disk may be the very upload that can go now
          throw error;
        },
      );
      entry.settledAtMs = Date.now();
      if (!done) return;
      await dropUpload(entry);
      if (unwritten) await write();
    },

    async find(id) {
      const entry = entries.get(id);
      if (!entry) return null;
      if (entry.settledAtMs === null) return { state: 'queued' };
      return readAnswer(folder, key, id);
    },

    async remove(id) {
      const entry = entries.get(id);
      if (!entry) throw errorOf('NOT_FOUND', 'There is no such upload.');
      if (entry.settledAtMs === null) throw errorOf('NOT_SETTLED', 'The upload waits to be forwarded.');
      await forget(id, entry);
    },

    counts() {
      const all = [...entries.values()];
      return {
        queued: all.filter(({ settledAtMs }) => settledAtMs === null).length,
        refused: all.filter(({ settledAtMs, upload }) => settledAtMs !== null && upload !== null).length,
        bytes,
      };
    },
    changed: (timeoutMs) => added.wait(timeoutMs),
    close() {
      clearInterval(sweeping);
      lock.close();
    },
  };
}

async function* withRequest(request: QueuedRequest, body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const json = Buffer.from(JSON.stringify(request));
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeUInt32BE(json.length);
  yield Buffer.concat([length, json]);
  yield* body;
}

/** SQLite's lock on a file that holds nothing: the system lets it go when the process ends, however it ends. */
function takeLock(file: string): DatabaseSync {
  const lock = new DatabaseSync(file);
  try {
    lock.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE;');
    return lock;
  } catch (cause) {
    lock.close();
    throw errorOf('QUEUE_IN_USE', 'Another gateway uses this data directory.', { cause });
  }
}

/** Between the answer to a forwarded upload and the end of its file a crash leaves both. */
async function finishInterrupted(folder: string, key: Uint8Array, entries: Map<string, Entry>): Promise<void> {
  for (const [id, entry] of entries) {
    if (entry.upload === null || entry.settledAtMs === null) continue;
    const answer = await readAnswer(folder, key, id).catch(() => null);
    if (answer?.state === 'forwarded') {
      await rm(join(folder, entry.upload), { force: true });
      Object.assign(entry, { upload: null, bytes: 0 });
    } else if (answer === null) entry.settledAtMs = null; // an answer that nobody can read: asked again
  }
}

async function readAnswer(folder: string, key: Uint8Array, id: string): Promise<Answer> {
  const chunks: Buffer[] = [];
  for await (const chunk of openFile(key, 'answer', id, join(folder, `${id}.answer`))) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString('utf8')) as Answer;
}

/** Deletes what was never acknowledged. */
async function readFolder(folder: string): Promise<{ entries: Map<string, Entry>; lastNumber: number }> {
  const names = (await readdir(folder)).sort(); // so that numbers come in their order
  const entries = new Map<string, Entry>();
  let lastNumber = 0;
  for (const name of names) {
    if (name.endsWith('.part')) await rm(join(folder, name));
    const [, digits, id] = UPLOAD.exec(name) ?? [];
    if (id === undefined) continue;
    lastNumber = Math.max(lastNumber, Number(digits));
    entries.set(id, { upload: name, bytes: (await stat(join(folder, name))).size, settledAtMs: null });
  }
  for (const name of names) {
    const [, id] = ANSWER.exec(name) ?? [];
    if (id === undefined) continue;
    const settledAtMs = (await stat(join(folder, name))).mtimeMs;
    entries.set(id, { ...(entries.get(id) ?? { upload: null, bytes: 0 }), settledAtMs });
  }
  return { entries, lastNumber };
}
