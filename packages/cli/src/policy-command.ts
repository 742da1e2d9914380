/** `abaton policy`: officers sign what they demand. Keys are Ed25519 in PKCS#8 PEM; signatures are lines of a C2SP note. */
import { generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import { chmodSync, realpathSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import {
  ConfigurationError,
  formatSignatureLine,
  type Note,
  parseNote,
  parsePolicyText,
  parseVkey,
} from '@abaton/verify';
import { readKey, requireKeyName, vkeyOf } from './officer-key.ts';
import { diffPolicies } from './policy-diff.ts';
import { printable, printableJson } from './printable.ts';
import { readText, unusable } from './read-file.ts';
import { readPolicy, type TrustFlags } from './trust-options.ts';

const usage = (message: string, cause?: unknown): never => {
  throw new ConfigurationError('USAGE', message, { cause });
};

/** Makes a key, never over an existing file, and prints the verifier key that others name by --officer. */
export function runPolicyKey(file: string, { name }: { name: string }): number {
  requireKeyName(name, 'hospital.example/anna');
  const { privateKey } = generateKeyPairSync('ed25519');
  const vkey = vkeyOf(name, privateKey);
  try {
    writeFileSync(file, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600, flag: 'wx' });
  } catch (cause) {
    return usage(`${file} cannot be written, or exists already.`, cause);
  }
  process.stdout.write(`${vkey}\n`);
  return 0;
}

/** Adds one officer's signature to a policy file, which is checked first: nobody signs what cannot be read. */
export function runPolicySign(
  file: string,
  { key, name, fresh }: { key: string; name: string; fresh?: boolean },
): number {
  const privateKey = readKey(key);
  const { text, signatures } = readNote(file);
  parsePolicyText(text);
  const vkey = parseVkey(vkeyOf(name, privateKey));
  const line = formatSignatureLine(vkey, sign(null, Buffer.from(text), privateKey));
  const others = (fresh ? [] : signatures).filter((each) => each.name !== name);
  const lines = others.map(({ name, id, signature }) => formatSignatureLine({ name, id }, signature));
  replace(file, `${text}\n${[...lines, line].join('')}`);
  const kept = others.length > 0 ? ` ${others.length} of others kept, not checked here.` : '';
  process.stdout.write(`Signed by ${vkeyOf(name, privateKey)}.${kept}\n`);
  return 0;
}

/** Prints the policy as it will be applied, with every default; refuses one that is not signed as asked. */
export function runPolicyShow(file: string, flags: TrustFlags): number {
  const json = JSON.stringify(readPolicy({ ...flags, policy: file }), null, 2);
  process.stdout.write(`${printableJson(json)}\n`);
  return 0;
}

/** Prints what the second policy says and the first does not, and the other way round. */
export function runPolicyDiff(before: string, after: string, flags: TrustFlags & { json?: boolean }): number {
  const [old, now] = [before, after].map((file) => readPolicy({ ...flags, policy: file }));
  const changes = diffPolicies(old!, now!);
  const written = changes.flatMap(({ member, before, after }) =>
    before !== null && after !== null
      ? [`~ ${member}: ${before} -> ${after}`]
      : [before === null ? `+ ${member}: ${after}` : `- ${member}: ${before}`],
  );
  process.stdout.write(
    flags.json
      ? `${printableJson(JSON.stringify({ changes }))}\n`
      : `${(written.length > 0 ? written : ['Both say the same.']).map(printable).join('\n')}\n`,
  );
  return 0;
}

/** The document, ending in a line feed, and the signatures under it, if any. */
function readNote(file: string): Note {
  const content = readText(file);
  if (/\n\n\u2014 /.test(content)) {
    try {
      const note = parseNote(content);
      if (!note.text.includes('\n\n')) return note;
    } catch (cause) {
      return unusable(file, `cannot be signed: ${(cause as Error).message}`, cause);
    }
  }
  const text = `${content.trimEnd()}\n`;
  if (text.includes('\n\n') || /[\t\r]/.test(text))
    return unusable(file, 'has a blank line, a tab or a carriage return: a signed policy has none');
  return { text, signatures: [] };
}

/** Whole or not at all, where a link leads, and readable by whom it was. */
function replace(file: string, text: string): void {
  const target = realpathSync(file);
  const temporary = `${target}.${randomUUID()}.tmp`;
  try {
    writeFileSync(temporary, text, { flag: 'wx', flush: true });
    chmodSync(temporary, statSync(target).mode);
    renameSync(temporary, target);
  } catch (cause) {
    rmSync(temporary, { force: true });
    unusable(file, 'cannot be replaced', cause);
  }
}
