/**
 * `abaton incident`: what closed the door of a server, and how an officer opens it again: the root cause, signed for this
 * incident of this log, over a connection that is verified first.
 */
import { sign } from 'node:crypto';
import { Readable } from 'node:stream';
import { type ChannelResponse, connectVerified, type VerifiedConnection } from '@abaton/client';
import {
  ConfigurationError,
  formatIncidentResolution,
  formatSignatureLine,
  isCause,
  MAX_CAUSE_CHARS,
  parseVkey,
  RejectedError,
  UnavailableError,
} from '@abaton/verify';
import { EXIT } from './exit.ts';
import { readKey, vkeyOf } from './officer-key.ts';
import { printable, printableJson } from './printable.ts';
import { readTrust, type TrustFlags } from './trust-options.ts';

interface ListedIncident {
  id: string;
  at: string;
  codes: string[];
  evidenceId: string | null;
  state: 'open' | 'resolved';
}

type Flags = TrustFlags & { url: string; json?: boolean };

/** Prints the incidents of the server that are open, and those that were resolved since it started. */
export async function runIncidentList(flags: Flags): Promise<number> {
  const { incidents } = await ask<{ incidents: ListedIncident[] }>(flags, (connection) =>
    connection.request({ method: 'GET', path: '/api/v1/incidents' }),
  );
  print(flags, { incidents }, incidents.length === 0 ? ['No incident.'] : incidents.map(renderIncident));
  return EXIT.ok;
}

/** Signs the cause and posts it. Exit code 2 when the incident is resolved but the gate does not open yet. */
export async function runIncidentResolve(
  id: string,
  flags: Flags & { cause: string; key: string; name: string },
): Promise<number> {
  const { cause, name } = flags;
  if (!/^[^\s+]+$/u.test(name))
    throw new ConfigurationError(
      'USAGE',
      '--name is the first part of the verifier key in the manifest, before the first +.',
    );
  if (!/^[0-9a-f]{16}$/.test(id)) throw new ConfigurationError('USAGE', 'An incident has an id of 16 hex digits.');
  if (!isCause(cause))
    throw new ConfigurationError('USAGE', `--cause must be one line of 1 to ${MAX_CAUSE_CHARS} characters.`);
  const privateKey = readKey(flags.key);
  const vkey = parseVkey(vkeyOf(name, privateKey));
  const answer = await ask<{ incident: ListedIncident; gate: { open: boolean; reasons: string[] } }>(
    flags,
    (connection) => {
      // the evidence binds the key of the log, and with it the origin: no other server can have this signed for itself
      const [logVkey] = connection.evidence.reportData.auditLogVkeys;
      if (!logVkey) throw new UnavailableError('ANSWER_INVALID', 'The evidence names no audit log.');
      const origin = parseVkey(logVkey).name;
      const text = formatIncidentResolution({ origin, incidentId: id, signedMs: Date.now(), cause });
      const note = `${text}\n${formatSignatureLine(vkey, sign(null, Buffer.from(text), privateKey))}`;
      return connection.request({
        method: 'POST',
        path: `/api/v1/incidents/${id}/resolution`,
        headers: { 'content-type': 'text/plain; charset=utf-8' },
        body: Readable.from([Buffer.from(note)]),
      });
    },
  );
  const { open, reasons } = answer.gate;
  const gate = open ? 'The gate is open.' : `The gate is still closed: ${reasons.join(', ')}.`;
  print(flags, answer, [`${renderIncident(answer.incident)}`, gate]);
  return open ? EXIT.ok : EXIT.unavailable;
}

async function ask<Answer>(
  flags: Flags,
  request: (connection: VerifiedConnection) => Promise<ChannelResponse>,
): Promise<Answer> {
  const connection = await connectVerified(readTrust(flags.url, flags));
  try {
    const response = await request(connection);
    const answer = (await response.json()) as Answer & { code?: unknown; message?: unknown; class?: unknown };
    if (response.status === 200) return answer;
    const { code, message, class: action } = answer;
    if (typeof code !== 'string' || typeof message !== 'string')
      throw new UnavailableError('ANSWER_INVALID', `The server answered ${response.status}.`);
    throw new (action === 'fix' ? ConfigurationError : action === 'stop' ? RejectedError : UnavailableError)(
      code,
      message,
    );
  } finally {
    connection.close();
  }
}

const renderIncident = ({ id, at, state, codes }: ListedIncident): string =>
  `${id}  ${at}  ${state}  ${codes.join(' ')}`;

function print({ json }: Flags, answer: object, lines: string[]): void {
  process.stdout.write(
    json ? `${printableJson(JSON.stringify(answer))}\n` : lines.map((line) => `${printable(line)}\n`).join(''),
  );
}
