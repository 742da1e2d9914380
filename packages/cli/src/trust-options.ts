/** What every command that verifies asks for: whom to trust. */
import type { VerifyOptions } from '@abaton/client';
import {
  ConfigurationError,
  type Policy,
  parsePolicy,
  parsePolicyText,
  parseVkey,
  verifySignedPolicy,
} from '@abaton/verify';
import type { Command } from 'commander';
import { readText, unusable } from './read-file.ts';

export interface TrustFlags {
  codeHash?: string;
  policy?: string;
  officer?: string[];
  officers?: string;
  acceptSimulated?: string[];
}

/** For options that may be given several times. */
export const repeated = (value: string, before: string[] = []): string[] => [...before, value];

export const addTrustOptions = (command: Command): Command =>
  command
    .option('--code-hash <sha256:HEX>', 'the code that you expect: SHA-256 of its app-compose')
    .option(
      '--policy <FILE>',
      'what you demand: OS measurements (nothing is safe without them), manifest, TCB status (JSON)',
    )
    .option('--officer <VKEY>', 'the policy must be signed by this officer (several: by each of them)', repeated)
    .option('--officers <N>', 'by how many of the officers (default: all)')
    .option(
      '--accept-simulated <ROOT_SHA256>',
      'accept this software TEE or GPU, for synthetic data only (several times)',
      repeated,
    );

/** Builds the demand from the flags. Throws USAGE when nothing says which code is expected. */
export function readTrust(url: string, flags: TrustFlags): VerifyOptions {
  if (!flags.codeHash && !flags.policy)
    throw new ConfigurationError('USAGE', 'Say which code you expect: --code-hash sha256:… or --policy FILE.');
  return { url, policy: readPolicy(flags), acceptedRootsSha256: acceptedRoots(flags) };
}

export const acceptedRoots = ({ acceptSimulated = [] }: TrustFlags): string[] =>
  acceptSimulated.map((root) => parseHex(root, '--accept-simulated'));

/** The policy of the flags. Without a file it lists nothing: those checks then do not run, and the verdict says so. */
export function readPolicy({ policy: file, officer, officers, codeHash }: TrustFlags): Policy {
  if (officer && !file) throw new ConfigurationError('USAGE', '--officer needs --policy FILE.');
  if (officers && !officer) throw new ConfigurationError('USAGE', '--officers needs --officer VKEY.');
  const policy = file ? readPolicyFile(file, officer, officers) : parsePolicy({ version: 1 });
  if (!codeHash) return policy;
  const expected = `sha256:${parseHex(codeHash, '--code-hash')}`;
  // Over one's own file the flag decides; over what officers have signed, nobody.
  if (officer && policy.codeHashes.length > 0 && !policy.codeHashes.includes(expected))
    throw new ConfigurationError('USAGE', '--code-hash is none of those that the officers have signed.');
  return { ...policy, codeHashes: [expected] };
}

function readPolicyFile(file: string, officer?: readonly string[], officers?: string): Policy {
  const text = readText(file);
  if (officer) {
    const keys = officer.map(checkVkey);
    const threshold = officers === undefined ? keys.length : Number(officers);
    if (new Set(keys).size < keys.length) throw new ConfigurationError('USAGE', 'An --officer is given twice.');
    if (!Number.isInteger(threshold) || threshold < 1 || threshold > keys.length)
      throw new ConfigurationError('USAGE', `--officers must be a number from 1 to ${keys.length}.`);
    return verifySignedPolicy(text, keys, threshold);
  }
  if (/\n\n\u2014 /.test(text))
    // the signature lines of a note
    return unusable(file, 'is a signed policy: name who must have signed it, --officer VKEY');
  return parsePolicyText(text);
}

/** Usage, since nobody but the caller has written it. */
function checkVkey(vkey: string): string {
  try {
    parseVkey(vkey);
    return vkey;
  } catch (cause) {
    throw new ConfigurationError('USAGE', '--officer must be a verifier key, as abaton policy key prints it.', {
      cause,
    });
  }
}

function parseHex(text: string, flag: string): string {
  const hex = text.replace(/^sha256:/, '').toLowerCase();
  if (!/^[0-9a-f]{64}$/.test(hex))
    throw new ConfigurationError('USAGE', `${flag} must be 64 hex digits, with or without sha256: before them.`);
  return hex;
}

/** A gateway and a keyholder speak to one server for long. Throws USAGE. */
export function requireHttps(url: string): void {
  if (!URL.canParse(url) || new URL(url).protocol !== 'https:')
    throw new ConfigurationError('USAGE', '--url must be an https: address, such as https://localhost:8443.');
}
