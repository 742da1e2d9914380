/**
 * Where the guest agent is. The order is that of dstack's own SDKs: what DSTACK_SIMULATOR_ENDPOINT names, else the four
 * places of dstack.sock, else tappd.sock of guests older than dstack 0.5 (Dstack-TEE/dstack `sdk/curl/api.md`,
 * `api-tappd.md`).
 */
import { statSync } from 'node:fs';
import { basename } from 'node:path';
import { errorOf } from '../errors.ts';

export interface AgentPlace {
  /** Which methods it has: those of dstack 0.5, which 0.6 keeps, or those of before. */
  surface: 'dstack' | 'tappd';
  to: { socketPath: string } | { host: string; port: number };
}

export const AGENT_SOCKETS: readonly string[] = [
  '/var/run/dstack.sock',
  '/run/dstack.sock',
  '/var/run/dstack/dstack.sock',
  '/run/dstack/dstack.sock',
  '/var/run/tappd.sock',
];

/** A socket that is named like tappd's speaks like tappd. */
const placeAt = (socketPath: string): AgentPlace => ({
  surface: basename(socketPath) === 'tappd.sock' ? 'tappd' : 'dstack',
  to: { socketPath },
});

const LOOPBACK = /^(?:127\.\d+\.\d+\.\d+|\[::1\]|localhost)$/;

/**
 * The path of a socket, or `http://` on loopback, as simulators serve it: keys travel there in clear, so nowhere else.
 * Throws SETTING_INVALID.
 */
export function parseAgentEndpoint(endpoint: string): AgentPlace {
  if (!/^[a-z][a-z\d+.-]*:\/\//i.test(endpoint)) return placeAt(endpoint);
  const url = URL.parse(endpoint);
  if (url?.protocol !== 'http:' || !LOOPBACK.test(url.hostname) || url.href !== `${url.origin}/`)
    throw errorOf(
      'SETTING_INVALID',
      'DSTACK_SIMULATOR_ENDPOINT must be the path of a socket, or http:// with a loopback address and no path.',
    );
  // not looked up: a name service could answer otherwise
  const host = url.hostname === 'localhost' ? '127.0.0.1' : url.hostname.replace(/^\[|\]$/g, '');
  return { surface: 'dstack', to: { host, port: Number(url.port || 80) } };
}

/** What is configured, whether it is there or not; else the first of `sockets` that is one. Throws AGENT_UNAVAILABLE. */
export function findAgent(configured: AgentPlace | null, sockets: readonly string[] = AGENT_SOCKETS): AgentPlace {
  if (configured) return configured;
  const found = sockets.find((path) => statSync(path, { throwIfNoEntry: false })?.isSocket());
  if (!found) throw errorOf('AGENT_UNAVAILABLE', `No guest agent socket at ${sockets.join(', ')}.`);
  return placeAt(found);
}
