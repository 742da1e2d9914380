/**
 * What is in `DIR/queue`, and what a start makes of it.
 *
 * | file | meaning |
 * |---|---|
 * | `ID.part` | an upload that is arriving; never acknowledged, deleted at start |
 * | `NUMBER-ID.upload` | acknowledged; NUMBER (16 digits) grows |
 * | `ID.answer` | what became of the upload; when that is "forwarded", the upload file is deleted |
 */
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { syncDirectory } from './durable.ts';
import { openFile, type SealedFile } from './sealed-file.ts';

/** What became of an upload. */
export interface Answer {
  state: 'forwarded' | 'refused';
  /** Of the service; null: the upload could not be read, and was not sent. */
  status: number | null;
  contentType: string | null;
  body: string;
  at: string;
}

export interface Entry {
  state: 'queued' | Answer['state'];
  /** Its file; null: deleted. */
  upload: string | null;
  uploadBytes: number;
  answerBytes: number;
  settledAtMs: number;
}

export const uploadName = (number: number, id: string): string => `${String(number).padStart(16, '0')}-${id}.upload`;
export const answerName = (id: string): string => `${id}.answer`;
const UPLOAD = /^(\d{16})-([0-9a-f]{32})\.upload$/;
const ANSWER = /^([0-9a-f]{32})\.answer$/;

export interface Folder {
  /** In the order of their numbers. */
  uploads: { id: string; name: string; bytes: number }[];
  /** Oldest first. */
  answers: { id: string; name: string; bytes: number; writtenAtMs: number }[];
  lastNumber: number;
}

/** Deletes what was never acknowledged, and lists the rest. */
export async function readFolder(folder: string): Promise<Folder> {
  const found: Folder = { uploads: [], answers: [], lastNumber: 0 };
  for (const name of (await readdir(folder)).sort()) {
    if (name.endsWith('.part')) await rm(join(folder, name));
    const [, digits, uploadId] = UPLOAD.exec(name) ?? [];
    const id = uploadId ?? ANSWER.exec(name)?.[1];
    if (id === undefined) continue;
    const { size: bytes, mtimeMs: writtenAtMs } = await stat(join(folder, name));
    if (uploadId === undefined) found.answers.push({ id, name, bytes, writtenAtMs });
    else {
      found.uploads.push({ id, name, bytes });
      found.lastNumber = Math.max(found.lastNumber, Number(digits));
    }
  }
  found.answers.sort((a, b) => a.writtenAtMs - b.writtenAtMs);
  return found;
}

/** The newest upload first: what a key is tried with. */
export const sealedFiles = ({ uploads, answers }: Folder): SealedFile[] => [
  ...uploads.map(({ id, name }) => ({ kind: 'upload' as const, id, name })).reverse(),
  ...answers.map(({ id, name }) => ({ kind: 'answer' as const, id, name })).reverse(),
];

/**
 * What waits, in the order of the acknowledgements, and what is settled, oldest first. Finishes what a crash has
 * interrupted: with the answer "forwarded" its upload is deleted. With an answer that does not open, the upload is
 * sent again; without an upload, such an answer is kept as one that somebody has to look at.
 */
export async function readEntries(
  folder: string,
  key: Uint8Array,
  { uploads, answers }: Folder,
): Promise<Map<string, Entry>> {
  const entries = new Map<string, Entry>();
  for (const { id, name, bytes } of uploads)
    entries.set(id, { state: 'queued', upload: name, uploadBytes: bytes, answerBytes: 0, settledAtMs: 0 });
  let finished = false;
  for (const { id, bytes, writtenAtMs } of answers) {
    const answer = await readAnswer(folder, key, id).catch(() => null);
    const waiting = entries.get(id);
    if (!answer && waiting) continue;
    const settled = { state: answer?.state ?? 'refused', answerBytes: bytes, settledAtMs: writtenAtMs } as const;
    let { upload = null, uploadBytes = 0 } = waiting ?? {};
    if (upload && settled.state === 'forwarded') {
      await rm(join(folder, upload), { force: true });
      finished = true;
      [upload, uploadBytes] = [null, 0];
    }
    entries.delete(id); // so that it comes in the order of the answers
    entries.set(id, { ...settled, upload, uploadBytes });
  }
  if (finished) await syncDirectory(folder);
  return entries;
}

/** Throws OBJECT_DAMAGED, or what the disk says. */
export async function readAnswer(folder: string, key: Uint8Array, id: string): Promise<Answer> {
  const chunks: Buffer[] = [];
  for await (const chunk of openFile(key, 'answer', id, join(folder, answerName(id)))) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString('utf8')) as Answer;
}
