/** `abaton keyholder`: the customer's shares of the server's keys, on the customer's own machine. */
import { readFileSync, statSync } from 'node:fs';
import {
  createKeyFile,
  exportEscrow,
  importEscrow,
  listEpochs,
  MIN_PASSPHRASE_CHARS,
  newKeyMaterial,
  type SharesOptions,
  signerOf,
  startKeyholderAlone,
} from '@abaton/gateway';
import { AbatonError, ConfigurationError } from '@abaton/verify';
import { EXIT } from './exit.ts';
import { requireKeyName } from './officer-key.ts';
import { readBytes } from './read-file.ts';
import { readTrust, requireHttps, type TrustFlags } from './trust-options.ts';
import { untilSignal } from './until-signal.ts';

const usage = (message: string, cause?: unknown): never => {
  throw new ConfigurationError('USAGE', message, { cause });
};

interface PlaceFlags {
  key: string;
  dir: string;
}

interface KeyholderFlags extends TrustFlags, PlaceFlags {
  url: string;
  subject?: string;
}

/** A share goes to nobody whom only a flag admits. Throws USAGE when no officer has to have signed the policy. */
export function requireOfficers({ policy, officer }: TrustFlags): void {
  if (!policy || !officer)
    usage('A keyholder needs --policy FILE and --officer VKEY: it gives shares only to what officers have admitted.');
}

/** Prints one line of JSON when it runs, and ends the process at a signal. Its log goes to standard error. */
export async function runKeyholder(flags: KeyholderFlags): Promise<never> {
  process.umask(0o077);
  requireOfficers(flags);
  requireHttps(flags.url);
  const stopping = untilSignal();
  const { subject } = flags;
  const keyholder = await startKeyholderAlone({
    trust: readTrust(flags.url, flags),
    ...placeOf(flags),
    ...(subject !== undefined && { subject }),
  });
  process.stdout.write(`${JSON.stringify({ service: flags.url, vkey: keyholder.vkey, pid: process.pid })}\n`);
  await stopping;
  await keyholder.stop();
  process.exit(EXIT.ok); // a verification that is under way cannot be called off, and may take 40 s
}

/** Makes keys, never over an existing file, and prints the verifier key for the manifest. */
export async function runKeyholderKey(file: string, { name }: { name: string }): Promise<number> {
  requireKeyName(name, 'hospital.example/keyholder');
  const material = newKeyMaterial(name);
  await createKeyFile(file, material).catch((cause) => usage(`${file} cannot be written, or exists already.`, cause));
  process.stdout.write(`${signerOf(material).vkey}\n`);
  return EXIT.ok;
}

/** Prints the epochs and their states, by the names of the files: no key is needed, and a keyholder may run. */
export async function runKeyholderStatus({ dir, json }: { dir: string; json?: boolean }): Promise<number> {
  if (!statSync(dir, { throwIfNoEntry: false })?.isDirectory()) return usage('--dir must be a directory.');
  const { shares, tombstones } = await listEpochs(dir);
  const epochs = [...shares.union(tombstones)]
    .sort((a, b) => a - b)
    .map((epoch) => ({ epoch, state: tombstones.has(epoch) ? 'destroyed' : 'held' }));
  const lines = epochs.map(({ epoch, state }) => `epoch ${epoch}: ${state}`);
  process.stdout.write(
    json ? `${JSON.stringify({ epochs })}\n` : `${lines.length > 0 ? lines.join('\n') : 'No epoch yet.'}\n`,
  );
  return EXIT.ok;
}

/** Writes an escrow copy, never over an existing file. */
export async function runKeyholderExport(flags: PlaceFlags & { to: string; passphraseFile: string }): Promise<number> {
  const passphrase = readPassphrase(flags.passphraseFile);
  const held = await exportEscrow(placeOf(flags), flags.to, passphrase).catch((cause) => {
    if (cause instanceof AbatonError) throw cause;
    return usage(`${flags.to} cannot be written, or exists already.`, cause);
  });
  passphrase.fill(0);
  process.stdout.write(
    `${listed('Holds the shares of epochs', held)}. Destroy older copies: they hold what was destroyed.\n`,
  );
  return EXIT.ok;
}

/** Makes folder and key file from an escrow copy. What is known to be destroyed stays destroyed. */
export async function runKeyholderImport(
  flags: PlaceFlags & { from: string; passphraseFile: string },
): Promise<number> {
  readBytes(flags.from); // as every file that people name
  const passphrase = readPassphrase(flags.passphraseFile);
  const { held, destroyed } = await importEscrow(placeOf(flags), flags.from, passphrase);
  passphrase.fill(0);
  process.stdout.write(`${listed('Held: epochs', held)}. ${listed('Destroyed: epochs', destroyed)}.\n`);
  return EXIT.ok;
}

const placeOf = ({ key, dir }: PlaceFlags): SharesOptions => ({ keyFile: key, dir });
const listed = (what: string, epochs: readonly number[]): string => `${what} ${epochs.join(', ') || 'none'}`;

/** From a file, or from standard input with `-`: never from argv or the environment, which others can read. */
function readPassphrase(file: string): Buffer {
  const bytes = file === '-' ? readFileSync(0) : readBytes(file);
  const end = /\r?\n$/.exec(bytes.subarray(-2).toString('latin1'))?.[0].length ?? 0;
  const passphrase = bytes.subarray(0, bytes.length - end);
  if (passphrase.toString('utf8').length < MIN_PASSPHRASE_CHARS)
    return usage(`The passphrase must have at least ${MIN_PASSPHRASE_CHARS} characters.`);
  return passphrase;
}
