/** What every command that talks to a server asks for: whom to trust. */
import { readFileSync } from 'node:fs';
import type { VerifyOptions } from '@abaton/client';
import { ConfigurationError, type Policy, parsePolicy } from '@abaton/verify';
import type { Command } from 'commander';

export interface TrustFlags {
  codeHash?: string;
  policy?: string;
  acceptSimulated?: string;
}

export const addTrustOptions = (command: Command): Command =>
  command
    .option('--code-hash <sha256:HEX>', 'the code that you expect: SHA-256 of its app-compose')
    .option(
      '--policy <FILE>',
      'what you demand: OS measurements (nothing is safe without them), manifest, TCB status (JSON)',
    )
    .option('--accept-simulated <ROOT_SHA256>', 'accept this software TEE, for synthetic data only');

/** Builds the demand from the flags. Throws USAGE when nothing says which code is expected. */
export function readTrust(url: string, flags: TrustFlags): VerifyOptions {
  if (!flags.codeHash && !flags.policy)
    throw new ConfigurationError('USAGE', 'Say which code you expect: --code-hash sha256:… or --policy FILE.');
  const policy = flags.policy ? readPolicy(flags.policy) : EMPTY_POLICY;
  const options: VerifyOptions = {
    url,
    policy: flags.codeHash ? { ...policy, codeHashes: [parseCodeHash(flags.codeHash)] } : policy,
  };
  if (flags.acceptSimulated) options.acceptedRootsSha256 = [parseHex(flags.acceptSimulated, '--accept-simulated')];
  return options;
}

/** Lists no OS image: that check then does not run, and the verdict says so. */
const EMPTY_POLICY = parsePolicy({ version: 1 });

function readPolicy(file: string): Policy {
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw new ConfigurationError('USAGE', `${file} cannot be read as JSON.`, { cause });
  }
  return parsePolicy(json);
}

const parseCodeHash = (text: string): string => `sha256:${parseHex(text, '--code-hash')}`;

function parseHex(text: string, flag: string): string {
  const hex = text.replace(/^sha256:/, '').toLowerCase();
  if (!/^[0-9a-f]{64}$/.test(hex))
    throw new ConfigurationError('USAGE', `${flag} must be 64 hex digits, with or without sha256: before them.`);
  return hex;
}
