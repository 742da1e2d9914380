/** Another opinion: Debian's xmlsec1, the command of the library with which NVIDIA's own SDK verifies signatures. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatPemChain } from '../../src/formats/pem.ts';

const available = spawnSync('xmlsec1', ['--version']).status === 0;
if (!available && process.env.REQUIRE_SYSTEM === '1') throw new Error('needs xmlsec1: run scripts/system-deps.sh');
export const noXmlsec = available ? false : 'needs xmlsec1: run scripts/system-deps.sh';

/** Whether it accepts the document of a signer under this root (DER) at this time. It allows more algorithms and forms. */
export function xmlsecAccepts(xml: string, root: Uint8Array, nowMs: number): boolean {
  const dir = mkdtempSync(join(tmpdir(), 'xmlsec-'));
  try {
    writeFileSync(join(dir, 'root.pem'), formatPemChain([root]));
    writeFileSync(join(dir, 'rim.xml'), xml);
    const time = new Date(nowMs).toISOString().replace('T', ' ').slice(0, 19);
    const options = ['--enabled-reference-uris', 'empty', '--trusted-pem', 'root.pem', '--verification-gmt-time', time];
    const { status, error } = spawnSync('xmlsec1', ['--verify', ...options, 'rim.xml'], { cwd: dir });
    if (error) throw error;
    return status === 0;
  } finally {
    rmSync(dir, { recursive: true });
  }
}
