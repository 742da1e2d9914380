/** What an officer asks of a server: over a connection that is verified first, with a note that holds for that server alone. */
import { randomBytes, sign } from 'node:crypto';
import { Readable } from 'node:stream';
import { type ChannelResponse, connectVerified, type VerifiedConnection } from '@abaton/client';
import {
  ConfigurationError,
  formatOfficerOrder,
  formatSignatureLine,
  type OrderBody,
  parseVkey,
  RejectedError,
  UnavailableError,
} from '@abaton/verify';
import { readKey, vkeyOf } from './officer-key.ts';
import { readTrust, type TrustFlags } from './trust-options.ts';

export type ServerFlags = TrustFlags & { url: string };

/** The officer's signing key, and the name of its verifier key in the manifest. */
export interface SignerFlags {
  key: string;
  name: string;
}

/** Reads the key at once, so that nobody is asked before it can be used. Throws USAGE. */
export function openSigner({ key, name }: SignerFlags): (text: string) => string {
  if (!/^[^\s+]+$/u.test(name))
    throw new ConfigurationError(
      'USAGE',
      '--name is the first part of the verifier key in the manifest, before the first +.',
    );
  const privateKey = readKey(key);
  const vkey = parseVkey(vkeyOf(name, privateKey));
  return (text) => `${text}\n${formatSignatureLine(vkey, sign(null, Buffer.from(text), privateKey))}`;
}

/** Verifies the server, asks, and takes the answer. Throws what the server refuses with, in its own class. */
export async function askVerified<Answer>(
  flags: ServerFlags,
  request: (connection: VerifiedConnection) => Promise<ChannelResponse>,
  take: (response: ChannelResponse) => Promise<Answer>,
): Promise<Answer> {
  const connection = await connectVerified(readTrust(flags.url, flags));
  try {
    const response = await request(connection);
    if (response.status === 200) return await take(response);
    const { code, message, class: action } = (await response.json()) as Record<string, unknown>;
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

/** The evidence binds the key of the log, and with it the origin: no other server can have a note signed for itself. */
export function originOf({ evidence }: VerifiedConnection): string {
  const [logVkey] = evidence.reportData.auditLogVkeys;
  if (!logVkey) throw new UnavailableError('ANSWER_INVALID', 'The evidence names no audit log.');
  return parseVkey(logVkey).name;
}

export const postNote = (connection: VerifiedConnection, path: string, note: string): Promise<ChannelResponse> =>
  connection.request({
    method: 'POST',
    path,
    headers: { 'content-type': 'text/plain; charset=utf-8' },
    body: Readable.from([Buffer.from(note)]),
  });

/** Signs the order for the server that was verified, and sends it. */
export function sendOrder<Answer>(
  flags: ServerFlags & SignerFlags,
  order: OrderBody,
  take: (response: ChannelResponse) => Promise<Answer>,
): Promise<Answer> {
  const signNote = openSigner(flags);
  const send = (connection: VerifiedConnection) => {
    const id = randomBytes(16).toString('hex');
    const text = formatOfficerOrder({ origin: originOf(connection), signedMs: Date.now(), id, order });
    return postNote(connection, '/api/v1/orders', signNote(text));
  };
  return askVerified(flags, send, take);
}
