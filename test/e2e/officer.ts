/** A manifest with a security officer, and the officer, who ends incidents as people do: by the command. */
import { execFile } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { vkeyOf } from '../../packages/cli/src/officer-key.ts';
import { careless } from './careless.ts';
import { root, type Stack } from './stack.ts';

export interface Officer {
  /** For ABATON_MANIFEST: that of the checkout, with the officer and the contacts. */
  manifestFile: string;
  /** The signing key, and the name that stands in its verifier key. */
  keyFile: string;
  keyName: string;
  /** Ends every open incident of the server. Throws what the command says when it does not end with 0. */
  resolveAll(cause: string): Promise<string[]>;
}

const NAME = 'security.officer';

export function enrolOfficer(
  { dir, trust, softTee }: Stack,
  contacts: readonly string[] = [],
  witnesses: readonly { url?: string; vkey: string }[] = [],
): Officer {
  const { privateKey } = generateKeyPairSync('ed25519');
  const keyFile = join(dir, 'officer.pem');
  writeFileSync(keyFile, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  const manifestFile = join(dir, 'abaton.yaml');
  const lines = [
    readFileSync(join(root, 'abaton.yaml'), 'utf8'),
    `officers:\n  - { name: A. Officer, role: security-officer, public_key: ${vkeyOf(NAME, privateKey)} }`,
    ...(contacts.length > 0 ? [`security_contacts: ${JSON.stringify(contacts)}`] : []),
    ...(witnesses.length > 0 ? [`witnesses: ${JSON.stringify(witnesses)}`] : []),
  ];
  writeFileSync(manifestFile, `${lines.join('\n')}\n`);
  return {
    manifestFile,
    keyFile,
    keyName: NAME,
    async resolveAll(cause) {
      const { url } = trust();
      const ids = (await readIncidents(url)).filter(({ state }) => state === 'open').map(({ id }) => id);
      for (const id of ids) {
        const args = ['--url', url, '--policy', softTee.policyFile, '--accept-simulated', softTee.rootSha256];
        const signing = ['--cause', cause, '--key', keyFile, '--name', NAME];
        const command = join(root, 'packages/cli/bin/abaton.mjs');
        await promisify(execFile)(process.execPath, [command, 'incident', 'resolve', id, ...args, ...signing]);
      }
      return ids;
    },
  };
}

export interface ListedIncident {
  id: string;
  state: 'open' | 'resolved';
  codes: string[];
}

/** As a stranger reads them: they are public. */
export const readIncidents = async (url: string): Promise<ListedIncident[]> =>
  JSON.parse((await careless(url, 'GET', '/api/v1/incidents')).text).incidents;
