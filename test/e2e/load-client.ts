/**
 * A sender in a process of its own: sends phantoms without pause, verified each time it has to reconnect, and writes one
 * line to stdout for every study that the server acknowledged. What it printed is what may never be lost.
 *
 *   node load-client.ts '{"url":…,"policy":…,"acceptedRootsSha256":[…]}'
 */
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectVerified, sendFiles, type VerifiedConnection } from '@abaton/client';
import { drawPhantom } from '../../packages/server/src/imaging/phantom.ts';

const trust = JSON.parse(process.argv[2]!);
const folder = mkdtempSync(join(tmpdir(), 'abaton-load-'));
process.on('SIGTERM', () => {
  rmSync(folder, { recursive: true, force: true });
  process.exit(0);
});

let connection: VerifiedConnection | null = null;
for (;;) {
  const study = `2.25.${BigInt(`0x${randomUUID().replaceAll('-', '')}`)}`;
  const file = join(folder, 'phantom.dcm');
  writeFileSync(file, drawPhantom({ studyInstanceUid: study, ageYears: 3, now: new Date() }));
  try {
    connection ??= await connectVerified(trust);
    const answer = await sendFiles(connection, [file]);
    if (answer.stored === 1) process.stdout.write(`${study}\n`);
  } catch {
    connection?.close();
    connection = null; // the server was killed, or is not open yet: connect and verify again
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
