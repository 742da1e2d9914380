/** `abaton audit account` and `audit export`: what an officer may read of the log, over a connection that is verified first. */
import { createWriteStream } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { ConfigurationError } from '@abaton/verify';
import { EXIT } from './exit.ts';
import { type ServerFlags, type SignerFlags, sendOrder } from './officer-request.ts';
import { printable, printableJson } from './printable.ts';

type Flags = ServerFlags & SignerFlags & { from?: string; to?: string; json?: boolean };

interface Access {
  at: string;
  action: string;
  outcome: string;
  recipient: { name: string; address: string | null } | null;
  what: { kind: string; identifiers: Record<string, unknown> } | null;
  purpose: string | null;
}

interface Accounting {
  from: string;
  to: string;
  disclosures: Access[];
  treatmentPaymentOperations: Access[];
  other: Access[];
  contentErased: { text: string }[];
}

const periodOf = ({ from, to }: Flags) => ({ ...(from !== undefined && { from }), ...(to !== undefined && { to }) });

/** Prints the accounting of disclosures of one patient. */
export async function runAuditAccount(flags: Flags & { patient: string; issuer?: string }): Promise<number> {
  const { patient: patientId, issuer = '', json } = flags;
  if (patientId === '') throw new ConfigurationError('USAGE', '--patient is empty.');
  const order = { do: 'account', issuer, patientId, ...periodOf(flags) };
  const answer = (await sendOrder(flags, order, (response) => response.json())) as { answer: Accounting };
  process.stdout.write(json ? `${printableJson(JSON.stringify(answer))}\n` : render(answer.answer));
  return EXIT.ok;
}

function render({ from, to, disclosures, treatmentPaymentOperations, other, contentErased }: Accounting): string {
  const part = (title: string, accesses: readonly Access[]) => [
    `${title}: ${accesses.length}`,
    ...accesses.map((access) => `  ${renderAccess(access)}`),
  ];
  const lines = [
    `Accounting of disclosures from ${from} to ${to}`,
    ...part('Disclosures', disclosures),
    ...part('For treatment, payment or operations', treatmentPaymentOperations),
    ...part('Not disclosed (received, analysed, asked about)', other),
    ...contentErased.map(({ text }) => text),
  ];
  return lines.map((line) => `${printable(line)}\n`).join('');
}

function renderAccess({ at, action, outcome, recipient, what, purpose }: Access): string {
  const who = recipient ? [recipient.name, recipient.address].filter(Boolean).join(' at ') : 'not known any more';
  const identifiers = Object.values(what?.identifiers ?? {}).filter((value) => typeof value === 'string' && value);
  const object = [what?.kind ?? '', ...identifiers].join(' ');
  return `${at}  ${action}${outcome === 'failure' ? ' (failed)' : ''}  ${who}  ${object}  ${purpose ?? 'no purpose stated'}`;
}

const FORMATS = ['fhir', 'dicom', 'csv'];

/** Writes the log to a file, whole or not at all. */
export async function runAuditExport(flags: Flags & { format: string; out: string }): Promise<number> {
  const { format, out, json } = flags;
  if (!FORMATS.includes(format))
    throw new ConfigurationError('USAGE', `--format must be one of ${FORMATS.join(', ')}.`);
  const part = `${out}.part`;
  const file = await open(part, 'w', 0o600).catch((cause) => {
    throw new ConfigurationError('USAGE', `${out} cannot be written.`, { cause });
  });
  let bytes = 0;
  try {
    const entry = await sendOrder(flags, { do: 'audit-export', format, ...periodOf(flags) }, async (response) => {
      async function* counted() {
        for await (const chunk of response.body) {
          bytes += chunk.length;
          yield chunk;
        }
      }
      await pipeline(counted(), createWriteStream(part, { fd: file, flush: true }));
      const [origin = '', index] = String(response.headers['x-abaton-order-entry']).split(' ');
      return { origin, index: Number(index) };
    });
    await rename(part, out);
    process.stdout.write(
      json
        ? `${JSON.stringify({ format, bytes, entry })}\n`
        : `${bytes} bytes; the export is entry ${entry.index} of ${printable(entry.origin)}.\n`,
    );
    return EXIT.ok;
  } catch (error) {
    await file.close().catch(() => {}); // the stream has closed it, if it came so far
    await rm(part, { force: true });
    throw error;
  }
}
