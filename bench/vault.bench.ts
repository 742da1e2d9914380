/**
 * Sealed objects of 64 KiB, 8 MiB and 256 MiB, written and read through the vault, in turns in the same run with (a) raw
 * AES-256-GCM of node:crypto, one cipher over all the bytes, and (b) plain files. All three do the same with the disk:
 * a new file, fdatasync, rename, fsync of the directory. `ratio`: the lowest throughput of the vault over that of (a), of
 * all sizes, writing and reading; the vault also hashes plaintext and ciphertext, (a) does not.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { syncDirectory } from '../packages/server/src/durable-files.ts';
import { openState } from '../packages/server/src/open-state.ts';
import type { SealedObject } from '../packages/server/src/vault/vault.ts';
import type { Figures } from './main.ts';
import { quantile, takeTurns } from './statistics.ts';

const MIB = 2 ** 20;
const SIZES = [
  { name: '64KiB', bytes: 64 * 1024, rounds: 150 },
  { name: '8MiB', bytes: 8 * MIB, rounds: 25 },
  { name: '256MiB', bytes: 256 * MIB, rounds: 5 },
];
/** As much as a socket gives at a time, and what one read takes from a file. */
const PIECE_BYTES = 64 * 1024;
const READ_BYTES = 256 * 1024;

/** One way to keep an object. */
interface Keeper {
  write(bytes: number): Promise<void>;
  /** Reads what was written last. */
  read(): Promise<void>;
}

export async function run(): Promise<Figures> {
  const ours = fileURLToPath(new URL('../.abaton', import.meta.url));
  await mkdir(ours, { recursive: true });
  const scratch = await mkdtemp(join(ours, 'bench-vault-'));
  const sealed = await openSealed(join(scratch, 'sealed'));
  try {
    const figures: Figures = {};
    const ratios: number[] = [];
    for (const { name, bytes, rounds } of SIZES) {
      const keepers = [sealed, fileKeeper(scratch, 'gcm'), fileKeeper(scratch, 'plain')];
      const writes = await takeTurns(
        rounds,
        keepers.map((keeper) => () => keeper.write(bytes)),
      );
      const reads = await takeTurns(
        rounds,
        keepers.map((keeper) => () => keeper.read()),
      );
      for (const [way, times] of [
        ['Write', writes],
        ['Read', reads],
      ] as const) {
        const [vaultMs, gcmMs, plainMs] = times.map((each) => quantile(each, 0.5)) as [number, number, number];
        ratios.push(gcmMs / vaultMs);
        figures[`ratio${way}${name}`] = gcmMs / vaultMs;
        figures[`plainRatio${way}${name}`] = plainMs / vaultMs;
        figures[`mibPerSecond${way}${name}`] = (1000 * bytes) / MIB / vaultMs;
      }
      if (name === '64KiB') {
        figures.p50Ms = quantile(writes[0]!, 0.5);
        figures.p99Ms = quantile(writes[0]!, 0.99);
        figures.perSecond = 1000 / figures.p50Ms;
      }
    }
    return { ratio: Math.min(...ratios), ...figures };
  } finally {
    await sealed.close();
    await rm(scratch, { recursive: true, force: true });
  }
}

const piece = randomBytes(PIECE_BYTES);

async function openSealed(dataDir: string): Promise<Keeper & { close(): Promise<void> }> {
  const teeKey = new Uint8Array(32).fill(1);
  const { vault, blobs, close } = await openState({
    dataDir,
    teeKey,
    keyholderShare: null,
    tenant: 'bench',
    studyIdleMs: 0,
  });
  // As a store that is in use: making them takes an fsync each, once.
  for (let n = 0; n < 256; n++) await mkdir(join(dataDir, 'blobs', n.toString(16).padStart(2, '0')));
  const patient = vault.patientRef('bench', '', 'P1');
  let last: SealedObject | null = null;
  return {
    async write(bytes) {
      if (last) await blobs.delete(last.blobKey);
      const writer = vault.createObject();
      for (let at = 0; at < bytes; at += PIECE_BYTES) await writer.write(piece);
      last = await writer.finish(patient);
    },
    async read() {
      for await (const part of vault.openObject(patient, last!)) part.at(0);
    },
    close,
  };
}

function fileKeeper(directory: string, kind: 'gcm' | 'plain'): Keeper {
  const path = join(directory, kind);
  const [key, nonce] = [randomBytes(32), randomBytes(12)];
  let tag = Buffer.alloc(0);
  return {
    async write(bytes) {
      await rm(path, { force: true });
      const file = await open(`${path}.tmp`, 'wx', 0o600);
      const cipher = createCipheriv('aes-256-gcm', key, nonce);
      for (let at = 0; at < bytes; at += PIECE_BYTES)
        await file.writeFile(kind === 'gcm' ? cipher.update(piece) : piece);
      cipher.final();
      tag = cipher.getAuthTag();
      await file.datasync();
      await file.close();
      await rename(`${path}.tmp`, path);
      await syncDirectory(directory);
    },
    async read() {
      const file = await open(path, 'r');
      const decipher = createDecipheriv('aes-256-gcm', key, nonce).setAuthTag(tag);
      for (let at = 0; ; ) {
        const buffer = Buffer.allocUnsafe(READ_BYTES);
        const { bytesRead } = await file.read(buffer, 0, buffer.length, at);
        if (bytesRead === 0) break;
        at += bytesRead;
        if (kind === 'gcm') decipher.update(buffer.subarray(0, bytesRead));
      }
      if (kind === 'gcm') decipher.final();
      await file.close();
    },
  };
}
