/**
 * `abaton incident`: what closed the door of a server, and how an officer opens it again: the root cause, signed for this
 * incident of this log, over a connection that is verified first.
 */
import { ConfigurationError, formatIncidentResolution, isCause, MAX_CAUSE_CHARS } from '@abaton/verify';
import { EXIT } from './exit.ts';
import { askVerified, openSigner, originOf, postNote, type ServerFlags, type SignerFlags } from './officer-request.ts';
import { printable, printableJson } from './printable.ts';

interface ListedIncident {
  id: string;
  at: string;
  codes: string[];
  evidenceId: string | null;
  state: 'open' | 'resolved';
}

type Flags = ServerFlags & { json?: boolean };

/** Prints the incidents of the server that are open, and those that were resolved since it started. */
export async function runIncidentList(flags: Flags): Promise<number> {
  const { incidents } = (await askVerified(
    flags,
    (connection) => connection.request({ method: 'GET', path: '/api/v1/incidents' }),
    (response) => response.json(),
  )) as { incidents: ListedIncident[] };
  print(flags, { incidents }, incidents.length === 0 ? ['No incident.'] : incidents.map(renderIncident));
  return EXIT.ok;
}

/** Signs the cause and posts it. Exit code 2 when the incident is resolved but the gate does not open yet. */
export async function runIncidentResolve(id: string, flags: Flags & SignerFlags & { cause: string }): Promise<number> {
  const { cause } = flags;
  if (!/^[0-9a-f]{16}$/.test(id)) throw new ConfigurationError('USAGE', 'An incident has an id of 16 hex digits.');
  if (!isCause(cause))
    throw new ConfigurationError('USAGE', `--cause must be one line of 1 to ${MAX_CAUSE_CHARS} characters.`);
  const signNote = openSigner(flags);
  const answer = (await askVerified(
    flags,
    (connection) => {
      const origin = originOf(connection);
      const text = formatIncidentResolution({ origin, incidentId: id, signedMs: Date.now(), cause });
      return postNote(connection, `/api/v1/incidents/${id}/resolution`, signNote(text));
    },
    (response) => response.json(),
  )) as { incident: ListedIncident; gate: { open: boolean; reasons: string[] } };
  const { open, reasons } = answer.gate;
  const gate = open ? 'The gate is open.' : `The gate is still closed: ${reasons.join(', ')}.`;
  print(flags, answer, [`${renderIncident(answer.incident)}`, gate]);
  return open ? EXIT.ok : EXIT.unavailable;
}

const renderIncident = ({ id, at, state, codes }: ListedIncident): string =>
  `${id}  ${at}  ${state}  ${codes.join(' ')}`;

function print({ json }: Flags, answer: object, lines: string[]): void {
  process.stdout.write(
    json ? `${printableJson(JSON.stringify(answer))}\n` : lines.map((line) => `${printable(line)}\n`).join(''),
  );
}
