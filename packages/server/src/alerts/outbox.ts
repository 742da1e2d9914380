/**
 * Alerts on their way: one file each, written whole before the first try, and gone when every contact is dealt with.
 * Beside them a marker for each incident whose alert was ever here (`told-<id>`), so that a start knows which are still
 * to be told.
 *
 * The disk is the operator's, and what is read from it goes out under our name: nothing but regular files is read, a
 * bounded number of them, and of each only what an alert has.
 */
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { makeDirectory, replaceDurably } from '../durable-files.ts';
import { readRegularFile } from '../regular-file.ts';
import { type Alert, type AlertMessage, messageOf } from './alert.ts';

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
  /**
   * What a former process left, oldest first: of `maxEntries` files; the others wait for the next start. What is no
   * entry is removed, and so are the markers of incidents that are not in `openIds`.
   */
  load(openIds: ReadonlySet<string>): Promise<LoadedOutbox>;
  /** Durable on return, with the marker of its incident. Without waiting contacts the file is removed. */
  save(entry: OutboxEntry): Promise<void>;
}

export interface LoadedOutbox {
  entries: OutboxEntry[];
  /** Incidents whose alert is, or was, here. */
  told: ReadonlySet<string>;
  /** Files that the disk did not let us read or remove. They are where they were. */
  refused: number;
}

export interface OutboxOptions {
  directory: string;
  /** What entries from the disk are sent as, whatever they say. */
  app: string;
  maxEntries: number;
  nowMs: () => number;
}

const MAX_FILE_BYTES = 64 * 1024; // an alert has some hundred bytes
const MARKER = 'told-';

/** Makes the directory. Throws what the disk says. */
export async function openOutbox({ directory, app, maxEntries, nowMs }: OutboxOptions): Promise<Outbox> {
  await makeDirectory(directory);
  const pathOf = (name: string) => join(directory, name);
  const marked = new Set<string>();

  const readEntry = async (name: string): Promise<OutboxEntry | null> => {
    const bytes = await readRegularFile(pathOf(name), MAX_FILE_BYTES);
    const entry = bytes && parseEntry(bytes.toString(), app);
    if (!entry || name !== `${entry.id}.json`) return null;
    // a time to come, of a forger or from before the clock was set back, would have it tried for more than its day
    return { ...entry, raisedMs: Math.min(entry.raisedMs, nowMs()) };
  };

  return {
    async load(openIds) {
      const entries: OutboxEntry[] = [];
      let [refused, read] = [0, 0];
      for (const name of await readdir(directory)) {
        const incidentId = name.startsWith(MARKER) ? name.slice(MARKER.length) : null;
        try {
          if (incidentId !== null && openIds.has(incidentId)) marked.add(incidentId);
          else if (!name.endsWith('.json')) await rm(pathOf(name), { force: true, recursive: true });
          else if (read++ < maxEntries) {
            const entry = await readEntry(name);
            if (entry) entries.push(entry);
            else await rm(pathOf(name), { force: true, recursive: true });
          }
        } catch {
          refused++;
        }
      }
      const held = entries.flatMap(({ message }) => (message.kind === 'incident' ? (message.incidentId ?? []) : []));
      return {
        entries: entries.sort((a, b) => a.raisedMs - b.raisedMs),
        told: new Set([...marked, ...held]),
        refused,
      };
    },
    async save(entry) {
      const { kind, incidentId } = entry.message;
      const name = `${entry.id}.json`;
      if (entry.waiting.length > 0) await replaceDurably(pathOf(name), JSON.stringify(entry));
      if (kind === 'incident' && incidentId !== null && !marked.has(incidentId)) {
        await replaceDurably(pathOf(`${MARKER}${incidentId}`), '');
        marked.add(incidentId);
      }
      if (entry.waiting.length === 0) await rm(pathOf(name), { force: true });
    },
  };
}

/** Null for what this release did not write. */
function parseEntry(text: string, app: string): OutboxEntry | null {
  try {
    const { v, id, raisedMs, message, waiting } = JSON.parse(text) as OutboxEntry;
    const isEntry = v === 1 && isToken(id) && Number.isFinite(raisedMs) && isAlert(message) && Array.isArray(waiting);
    return isEntry ? { v, id, raisedMs, message: messageOf(message, app), waiting: waiting.filter(isToken) } : null;
  } catch {
    return null;
  }
}

const isToken = (value: unknown): boolean => typeof value === 'string' && /^[\w.:-]{1,128}$/.test(value);

/** No free text. */
const isAlert = ({ kind, incidentId, codes, at }: Alert): boolean =>
  isToken(kind) &&
  isToken(at) &&
  (incidentId === null || isToken(incidentId)) &&
  Array.isArray(codes) &&
  codes.every(isToken);
