/** Alerts on their way: one file each, written whole before the first try, and gone when every contact is dealt with. */
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { AlertMessage } from './alert.ts';

export interface OutboxEntry {
  v: 1;
  /** Drawn at random; the name of the file. */
  id: string;
  raisedMs: number;
  message: AlertMessage;
  /** Keys of the contacts that have not been reached. */
  waiting: string[];
}

export interface Outbox {
  /** What a former process left, oldest first. What is no entry is removed. */
  load(): Promise<OutboxEntry[]>;
  /** Durable on return. Without waiting contacts the file is removed. */
  save(entry: OutboxEntry): Promise<void>;
}

const MAX_FILE_BYTES = 64 * 1024; // an alert has some hundred bytes

/** Makes the directory. Throws what the disk says. */
export async function openOutbox(directory: string): Promise<Outbox> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const fileOf = (id: string) => join(directory, `${id}.json`);
  return {
    async load() {
      const entries: OutboxEntry[] = [];
      for (const name of await readdir(directory)) {
        const entry = await readEntry(join(directory, name));
        if (entry && name === `${entry.id}.json`) entries.push(entry);
        else await rm(join(directory, name), { force: true, recursive: true });
      }
      return entries.sort((a, b) => a.raisedMs - b.raisedMs);
    },
    async save(entry) {
      if (entry.waiting.length === 0) return rm(fileOf(entry.id), { force: true });
      const temporary = join(directory, `${entry.id}.tmp`);
      await syncing(temporary, 'w', (file) => file.writeFile(JSON.stringify(entry)));
      await rename(temporary, fileOf(entry.id));
      if (process.platform !== 'win32') await syncing(directory, 'r'); // fsync(2): a new name lasts once its directory is synced
    },
  };
}

type File = Awaited<ReturnType<typeof open>>;

async function syncing(path: string, flags: string, work?: (file: File) => Promise<void>): Promise<void> {
  const file = await open(path, flags, 0o600);
  try {
    await work?.(file);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Null for what this release did not write. */
async function readEntry(path: string): Promise<OutboxEntry | null> {
  try {
    if ((await stat(path)).size > MAX_FILE_BYTES) return null;
    const entry = JSON.parse(await readFile(path, 'utf8')) as OutboxEntry;
    const { v, id, raisedMs, message, waiting } = entry;
    const isEntry =
      v === 1 && typeof id === 'string' && Number.isFinite(raisedMs) && Array.isArray(waiting) && isMessage(message);
    return isEntry ? entry : null;
  } catch {
    return null;
  }
}

const isToken = (value: unknown): boolean => typeof value === 'string' && /^[\w.:-]{1,128}$/.test(value);

/** The disk is not ours: what is read from it goes out under our name. */
const isMessage = (message: AlertMessage): boolean =>
  isToken(message.app) &&
  isToken(message.kind) &&
  isToken(message.at) &&
  (message.incidentId === null || isToken(message.incidentId)) &&
  Array.isArray(message.codes) &&
  message.codes.every(isToken);
