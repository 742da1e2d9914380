/** `abaton audit`: whether a transparency log holds, whoever wrote it; and which key ours is verified under. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { openLogDirectory, openLogUrl } from '@abaton/client';
import { ConfigurationError, type VerifiedLog, verifyCheckpoint, verifyLog } from '@abaton/verify';
import { EXIT } from './exit.ts';
import { printable, printableJson } from './printable.ts';
import { createProgress } from './progress.ts';
import { readText } from './read-file.ts';

interface AuditVerifyFlags {
  log: string;
  vkey: string[];
  origin?: string;
  from?: string;
  json?: boolean;
}

/** Exit code 3 when anything does not hold. */
export async function runAuditVerify({ log, vkey, origin, from, json }: AuditVerifyFlags): Promise<number> {
  const isUrl = /^https?:\/\//.test(log);
  const progress = createProgress('Verifying');
  try {
    const verified = await verifyLog({
      read: isUrl ? openLogUrl(log) : openLogDirectory(requireDirectory(log)),
      vkeys: vkey,
      entries: isUrl ? 'optional' : 'required',
      ...(origin !== undefined && { origin }),
      ...(from !== undefined && { from: readText(from) }),
      onProgress: (done, size) => progress.note(`${done} of ${size} entries`),
    });
    progress.end();
    process.stdout.write(json ? `${printableJson(JSON.stringify({ valid: true, ...verified }))}\n` : render(verified));
    return EXIT.ok;
  } finally {
    progress.end();
  }
}

/** Prints the verifier keys that lie beside a log of ours, if its checkpoint is signed by them. Exit code 3 when not. */
export function runAuditKey({ log }: { log: string }): number {
  const dir = requireDirectory(log);
  const read = (name: string) => readText(join(dir, name));
  const vkeys = read('vkeys').trimEnd().split('\n');
  verifyCheckpoint(read('checkpoint'), vkeys);
  process.stdout.write(vkeys.map((vkey) => `${printable(vkey)}\n`).join(''));
  process.stderr.write(
    'Whose keys these are the directory cannot say: compare with auditLogVkeys of verified evidence.\n',
  );
  return EXIT.ok;
}

function requireDirectory(path: string): string {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) return path;
  throw new ConfigurationError('USAGE', '--log must be a directory, or an http: or https: address.');
}

function render({ origin, size, root, signedBy, entries, continues }: VerifiedLog): string {
  const lines = [
    `✓ ${origin}: ${size} entries lead to the signed checkpoint`,
    `  root ${root}, signed by ${signedBy.join(', ')}`,
    entries === 'verified'
      ? '  every entry was looked at'
      : '  entries are not public here: their hashes were looked at',
    ...(continues === null ? [] : [`  it continues the checkpoint of size ${continues}`]),
  ];
  return lines.map((line) => `${printable(line)}\n`).join('');
}
