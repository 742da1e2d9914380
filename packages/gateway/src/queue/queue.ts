/**
 * Uploads that came while the door was closed, sealed on disk in the order in which they were acknowledged (folder.ts).
 *
 * The upload is durable before its id is given out, the answer before the upload is deleted. A crash between
 * forwarding and the answer forwards again: at least once. STOW-RS is idempotent: an instance that is stored already
 * is stored still.
 *
 * What waits or was refused goes only when somebody deletes it: a clock must not delete data. Answers to what was
 * forwarded hold nothing that the service has not, and go by themselves.
 */
import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { errorOf } from '../codes.ts';
import { takeLock } from '../lock.ts';
import { createSignal } from '../signal.ts';
import { commitPart, isFull, makeDirectory, syncDirectory, writePart } from './durable.ts';
import {
  type Answer,
  answerName,
  type Entry,
  readAnswer,
  readEntries,
  readFolder,
  sealedFiles,
  uploadName,
} from './folder.ts';
import { openKeyFile } from './key-file.ts';
import { ID_BYTES, openFile, sealFile } from './sealed-file.ts';

/** What is sent on; the body follows it in the sealed file. */
export interface QueuedRequest {
  /** Path and query. */
  path: string;
  headers: Record<string, string>;
}

export type Found = { state: 'queued' } | Answer;

/** Whatever is done may throw what the disk says (durable.ts, `isDiskError`). */
export interface Queue {
  /** Returns the id when the upload is durable. Throws QUEUE_FULL, and what `body` throws; then nothing is left. */
  add(request: QueuedRequest, body: AsyncIterable<Uint8Array>): Promise<string>;
  /** The oldest that waits and that `isDue`. */
  next(isDue: (id: string) => boolean): string | null;
  /** Throws OBJECT_DAMAGED, here or while the body is read. */
  read(id: string): Promise<{ request: QueuedRequest; body: AsyncIterable<Uint8Array> }>;
  /** Durable on return. A forwarded upload is deleted. */
  settle(id: string, answer: Answer): Promise<void>;
  /** Null: not known. Throws OBJECT_DAMAGED. */
  find(id: string): Promise<Found | null>;
  /** Forgets a settled upload and its answer, durably. Throws NOT_FOUND or NOT_SETTLED. */
  remove(id: string): Promise<void>;
  /** `bytes`: of all files. */
  counts(): { queued: number; refused: number; bytes: number };
  /** Resolves when something was added, or after `timeoutMs`. */
  changed(timeoutMs: number): Promise<void>;
  close(): void;
}

const KEPT_MS = 7 * 86_400_000; // of the answer to a forwarded upload
const SWEEP_MS = 3_600_000;
const LIMITS = {
  /** That wait or are refused: each takes some 200 bytes of memory and one or two files. */
  uploads: 100_000,
  /** To what was forwarded: a start opens each of them, which takes some 0.2 ms. */
  answers: 10_000,
};
const LENGTH_BYTES = 4;

/** Opens (or makes) `dir`. Throws QUEUE_IN_USE and QUEUE_KEY_INVALID. */
export async function openQueue(dir: string, maxBytes: number, limits = LIMITS): Promise<Queue> {
  await makeDirectory(join(dir, 'queue'));
  const lock = takeLock(join(dir, 'lock'), 'QUEUE_IN_USE', 'Another gateway uses this data directory.');
  try {
    return await openLocked(dir, maxBytes, limits, lock);
  } catch (error) {
    lock.close();
    throw error;
  }
}

async function openLocked(dir: string, maxBytes: number, limits: typeof LIMITS, lock: DatabaseSync): Promise<Queue> {
  const folder = join(dir, 'queue');
  const found = await readFolder(folder);
  const key = await openKeyFile(dir, sealedFiles(found));
  const entries = await readEntries(folder, key, found);
  const added = createSignal();
  let number = found.lastNumber;
  let bytes = 0;
  for (const { uploadBytes, answerBytes } of entries.values()) bytes += uploadBytes + answerBytes;
  const answerFile = (id: string) => join(folder, answerName(id));
  const countOf = (state: Entry['state']) => [...entries.values()].filter((entry) => entry.state === state).length;

  /** Of an entry that nobody else works at: see `forget` and `settle`. Durable on return. */
  const dropUpload = async (entry: Entry): Promise<void> => {
    if (entry.upload === null) return;
    await rm(join(folder, entry.upload), { force: true });
    await syncDirectory(folder);
    bytes -= entry.uploadBytes;
    Object.assign(entry, { upload: null, uploadBytes: 0 });
  };
  /** Whoever comes meanwhile finds it gone. When it throws, it is there still. */
  const forget = async (id: string, entry: Entry): Promise<void> => {
    entries.delete(id);
    try {
      await dropUpload(entry); // for good, before its answer goes: without that it would wait again
      await rm(answerFile(id), { force: true });
      await syncDirectory(folder);
      bytes -= entry.answerBytes;
    } catch (error) {
      entries.set(id, entry);
      throw error;
    }
  };
  /** False: there is no answer that may go. */
  const forgetOldest = async (): Promise<boolean> => {
    for (const [id, entry] of entries) {
      if (entry.state !== 'forwarded') continue;
      await forget(id, entry);
      return true;
    }
    return false;
  };
  const sweep = async (): Promise<void> => {
    for (const [id, entry] of entries)
      if (entry.state === 'forwarded' && Date.now() > entry.settledAtMs + KEPT_MS) await forget(id, entry);
    while (countOf('forwarded') > limits.answers) await forgetOldest();
  };
  await sweep();
  const sweeping = setInterval(() => void sweep().catch(() => {}), SWEEP_MS).unref(); // the next one tries again

  const full = (cause?: unknown) => errorOf('QUEUE_FULL', 'The queue has no room for this upload.', { cause });

  return {
    async add(request, body) {
      if (countOf('queued') + countOf('refused') >= limits.uploads) throw full();
      const id = randomBytes(ID_BYTES).toString('hex');
      const part = join(folder, id);
      let reserved = 0;
      let upload: string | null = null;
      try {
        const sealed = sealFile(key, 'upload', id, withRequest(request, body));
        const length = await writePart(
          part,
          (async function* () {
            for await (const chunk of sealed) {
              while (bytes + chunk.length > maxBytes) if (!(await forgetOldest())) throw full();
              reserved += chunk.length;
              bytes += chunk.length;
              yield chunk;
            }
          })(),
        );
        upload = uploadName(++number, id);
        await commitPart(part, join(folder, upload));
        entries.set(id, { state: 'queued', upload, uploadBytes: length, answerBytes: 0, settledAtMs: 0 });
      } catch (error) {
        bytes -= reserved;
        // its name may be there though not durably: it is not acknowledged, and must not go out after a restart
        if (upload) await rm(join(folder, upload), { force: true }).catch(() => {});
        throw isFull(error) ? full(error) : error;
      }
      added.notify();
      return id;
    },

    next(isDue) {
      for (const [id, { state }] of entries) if (state === 'queued' && isDue(id)) return id;
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
        const length = await writePart(
          answerFile(id),
          sealFile(key, 'answer', id, [Buffer.from(JSON.stringify(answer))]),
        );
        await commitPart(answerFile(id), answerFile(id));
        entry.answerBytes = length;
        bytes += length;
      };
      // as long as it is queued, nobody else deletes it
      const settled = () => {
        Object.assign(entry, { state: answer.state, settledAtMs: Date.now() });
        entries.delete(id);
        entries.set(id, entry); // behind those that were settled before
      };
      if (answer.state === 'refused') {
        await write();
        return settled();
      }
      const unwritten = await write().then(
        () => false,
        (error) => {
          if (isFull(error)) return true; // what fills the disk may be the very upload that can go now
          throw error;
        },
      );
      try {
        await dropUpload(entry);
        if (unwritten) await write();
      } finally {
        settled(); // the service has it; what is left of the file goes at the next start
      }
      if (countOf('forwarded') > limits.answers) await forgetOldest();
    },

    async find(id) {
      const entry = entries.get(id);
      if (!entry) return null;
      return entry.state === 'queued' ? { state: 'queued' } : readAnswer(folder, key, id);
    },

    async remove(id) {
      const entry = entries.get(id);
      if (!entry) throw errorOf('NOT_FOUND', 'There is no such upload.');
      if (entry.state === 'queued') throw errorOf('NOT_SETTLED', 'The upload waits to be forwarded.');
      await forget(id, entry);
    },

    counts: () => ({ queued: countOf('queued'), refused: countOf('refused'), bytes }),
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
