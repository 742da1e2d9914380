/**
 * Our log, read by Go: golang.org/x/mod/sumdb verifies checkpoint, every inclusion proof through the tiles on disk and
 * consistency with earlier checkpoints, and refuses what was tampered with. The Go program is built in the scratch
 * directory; its module comes through Go's ordinary module proxy.
 */
import { execFile } from 'node:child_process';
import { cp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { createNoteSigner } from '@abaton/client';
import { ED25519_TYPE } from '@abaton/verify';
import { openTileLog } from '../../packages/server/src/audit/tile-log.ts';
import type { InteropResult } from '../interop.ts';

const execute = promisify(execFile);
const SOURCE = fileURLToPath(new URL('tlog-go', import.meta.url));
/** Crosses a level-1 tile only beyond 65,536; 5,000 proofs take Go some seconds. */
const ENTRIES = 5_000;
const OLD_SIZES = [1, 256, 257, 4_354];

const ORIGIN = 'interop.example/audit/2026';

/** Skipped without Go. */
export async function run(scratchDir: string): Promise<InteropResult[]> {
  if (!(await execute('go', ['version']).catch(() => null)))
    return [{ name: "Go's x/mod/sumdb reads our log", ok: true, detail: 'needs Go', skipped: true }];
  const scratch = join(scratchDir, 'tlog-go');
  const program = join(scratch, 'program');
  await cp(SOURCE, program, { recursive: true });
  await execute('go', ['build', '-o', 'verify', '.'], { cwd: program });

  const dir = join(scratch, 'log');
  const signer = createNoteSigner({ name: ORIGIN, type: ED25519_TYPE, seed: new Uint8Array(32).fill(9) });
  const log = await openTileLog({ dir, origin: ORIGIN, signers: [signer] });
  const old: string[] = [];
  for (const size of [...OLD_SIZES, ENTRIES]) {
    const count = size - log.size();
    await Promise.all(Array.from({ length: count }, (_, i) => log.append(Buffer.from(`{"n":${size - count + i}}`))));
    old.push(join(scratch, `checkpoint-${size}`));
    await writeFile(old.at(-1)!, log.checkpoint());
  }
  await log.close();
  const { stdout } = await execute(join(program, 'verify'), [dir, log.vkeys()[0]!, ...old], { maxBuffer: 2 ** 24 });
  return stdout
    .trim()
    .split('\n')
    .map((line): InteropResult => JSON.parse(line))
    .map((result) => ({ ...result, name: `Go's x/mod/sumdb reads our log: ${result.name}` }));
}
