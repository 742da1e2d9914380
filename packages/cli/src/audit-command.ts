/** `abaton audit`: whether a transparency log holds, whoever wrote it; and which key ours is verified under. */
import { statSync } from 'node:fs';
import { openLogDirectory, openLogUrl } from '@abaton/client';
import { ConfigurationError, type VerifiedLog, verifyLog } from '@abaton/verify';
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
