/** `abaton policy`: officers sign what they demand. Keys are Ed25519 in PKCS#8 PEM; signatures are lines of a C2SP note. */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import {
  ConfigurationError,
  ED25519_TYPE,
  formatSignatureLine,
  formatVkey,
  parsePolicy,
  parseVkey,
} from '@abaton/verify';
import { readPolicy, type TrustFlags } from './trust-options.ts';

const usage = (message: string, cause?: unknown): never => {
  throw new ConfigurationError('USAGE', message, { cause });
};

/** Makes a key, never over an existing file, and prints the verifier key that others name by --officer. */
export function runPolicyKey(file: string, { name }: { name: string }): number {
  if (!/^[^\s+]+$/u.test(name)) return usage('--name must be without spaces and +, such as hospital.example/anna.');
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
  const { text, lines } = readNote(file);
  parsePolicy(JSON.parse(text));
  const vkey = parseVkey(vkeyOf(name, privateKey));
  const line = formatSignatureLine(vkey, sign(null, Buffer.from(text), privateKey));
  const others = (fresh ? [] : lines).filter((each) => !each.startsWith(`\u2014 ${name} `));
  const temporary = `${file}.${process.pid}.tmp`;
  writeFileSync(temporary, `${text}\n${[...others, line].join('')}`, { flag: 'wx' });
  renameSync(temporary, file);
  const kept = others.length > 0 ? ` ${others.length} of others kept, not checked here.` : '';
  process.stdout.write(`Signed by ${name}.${kept}\n`);
  return 0;
}

/** Prints the policy as it will be applied, with every default; refuses one that is not signed as asked. */
export function runPolicyShow(file: string, flags: TrustFlags): number {
  process.stdout.write(`${JSON.stringify(readPolicy({ ...flags, policy: file }), null, 2)}\n`);
  return 0;
}

function vkeyOf(name: string, privateKey: KeyObject): string {
  const jwk = createPublicKey(privateKey).export({ format: 'jwk' });
  return formatVkey(name, ED25519_TYPE, Buffer.from(jwk.x!, 'base64url'));
}

function readKey(file: string): KeyObject {
  try {
    const key = createPrivateKey(readFileSync(file));
    if (key.asymmetricKeyType === 'ed25519') return key;
  } catch (cause) {
    return usage(`${file} is no private key in PEM.`, cause);
  }
  return usage(`${file} is no Ed25519 key: make one with abaton policy key.`);
}

/** The document, ending in a line feed, and the signature lines after it. */
function readNote(file: string): { text: string; lines: string[] } {
  let content: string;
  try {
    content = readFileSync(file, 'utf8');
  } catch (cause) {
    return usage(`${file} cannot be read.`, cause);
  }
  const [document, signatures = ''] = content.split(/\n\n(?=\u2014 )/);
  const text = `${document!.trimEnd()}\n`;
  if (text.includes('\n\n') || /[\t\r]/.test(text))
    return usage(`${file} has a blank line, a tab or a carriage return: a signed policy has none.`);
  try {
    JSON.parse(text);
  } catch (cause) {
    return usage(`${file} is not JSON.`, cause);
  }
  return { text, lines: signatures.split(/(?<=\n)/).filter(Boolean) };
}
