/** STOW-RS (PS3.18, 10.5) over a verified connection: files go as they are, as one streamed multipart/related body. */
import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { type AbatonError, ConfigurationError, RejectedError, UnavailableError } from '@abaton/verify';
import type { ClientCode } from './codes.ts';
import type { VerifiedConnection } from './connect-verified.ts';

export interface StoreAnswer {
  /** Study Instance UIDs that now have instances from this request. */
  studies: string[];
  stored: number;
  /** DICOM failure reason (0008,1197) of each instance that was refused. */
  failures: { reason: number; sopInstanceUid: string | null; comment: string | null }[];
}

/**
 * Sends the files. `onProgress` gets bytes, and nothing after the server's answer. Throws FILE_UNREADABLE, ANSWER_INVALID,
 * CONNECTION_LOST, or the server's refusal.
 */
export async function sendFiles(
  connection: VerifiedConnection,
  files: readonly string[],
  onProgress: (doneBytes: number, totalBytes: number) => void = () => {},
): Promise<StoreAnswer> {
  const sizes = await Promise.all(files.map((file, i) => stat(file).catch(unreadable(i, files.length))));
  const total = sizes.reduce((sum, { size }) => sum + size, 0);
  const boundary = randomUUID();
  let done = 0;
  async function* body(): AsyncGenerator<Uint8Array> {
    for (const [i, file] of files.entries()) {
      yield Buffer.from(`--${boundary}\r\nContent-Type: application/dicom\r\n\r\n`);
      for await (const chunk of readChunks(file, unreadable(i, files.length))) {
        yield chunk;
        done += chunk.length;
        onProgress(done, total);
      }
      yield Buffer.from('\r\n');
    }
    yield Buffer.from(`--${boundary}--\r\n`);
  }
  const response = await connection.request({
    method: 'POST',
    path: '/dicom-web/studies',
    headers: {
      'content-type': `multipart/related; type="application/dicom"; boundary=${boundary}`,
      accept: 'application/dicom+json',
    },
    body: body(),
  });
  const answer = await response.json();
  // 200 all stored, 202 some, 409 none (PS3.18, Table 10.5.3-1): in each the body says what became of every instance.
  if (![200, 202, 409].includes(response.status)) throw refusal(response.status, answer);
  return parseStoreAnswer(answer);
}

/** Names the file by its number: names of files are often names of patients. */
const unreadable =
  (index: number, count: number) =>
  (cause: unknown): never => {
    const message = `File ${index + 1} of ${count} cannot be read.`;
    throw new ConfigurationError<ClientCode>('FILE_UNREADABLE', message, { cause });
  };

async function* readChunks(file: string, refuse: (cause: unknown) => never): AsyncGenerator<Uint8Array> {
  try {
    yield* createReadStream(file);
  } catch (cause) {
    refuse(cause);
  }
}

const CLASSES = { fix: ConfigurationError, retry: UnavailableError, stop: RejectedError } as const;

/** The server's own error body: `{ code, message, class }`. Whatever else it is, is to be tried again. */
export function refusal(status: number, answer: unknown): AbatonError {
  const { code, message, class: action } = (answer ?? {}) as { code?: unknown; message?: unknown; class?: unknown };
  if (typeof code !== 'string' || typeof message !== 'string')
    return new UnavailableError<ClientCode>('ANSWER_INVALID', `The server answered ${status}.`);
  return new CLASSES[action === 'fix' || action === 'stop' ? action : 'retry'](code, message);
}

type Json = Record<string, { Value?: unknown[] } | undefined>;

const REFERENCED_SOP_SEQUENCE = '00081199';
const FAILED_SOP_SEQUENCE = '00081198';
const OTHER_FAILURES_SEQUENCE = '0008119A';
const RETRIEVE_URL = '00081190';
const FAILURE_REASON = '00081197';
const REFERENCED_SOP_INSTANCE_UID = '00081155';
const ERROR_COMMENT = '00000902';

/** Reads the Store Instances Response Module (PS3.18, Table I.2-1). */
function parseStoreAnswer(answer: unknown): StoreAnswer {
  if (typeof answer !== 'object' || answer === null)
    throw new UnavailableError<ClientCode>('ANSWER_INVALID', 'The answer to the upload is not a DICOM JSON object.');
  const items = (tag: string) => ((answer as Json)[tag]?.Value ?? []) as Json[];
  const first = (item: Json, tag: string) => item[tag]?.Value?.[0];
  const stored = items(REFERENCED_SOP_SEQUENCE);
  const studies = new Set<string>();
  for (const item of stored) {
    const study = /\/studies\/([0-9.]+)/.exec(String(first(item, RETRIEVE_URL) ?? ''))?.[1];
    if (study) studies.add(study);
  }
  return {
    studies: [...studies],
    stored: stored.length,
    failures: [...items(FAILED_SOP_SEQUENCE), ...items(OTHER_FAILURES_SEQUENCE)].map((item) => {
      const comment = first(item, ERROR_COMMENT);
      const uid = first(item, REFERENCED_SOP_INSTANCE_UID);
      return {
        reason: Number(first(item, FAILURE_REASON) ?? 0),
        sopInstanceUid: typeof uid === 'string' ? uid : null,
        comment: typeof comment === 'string' ? comment : null,
      };
    }),
  };
}
