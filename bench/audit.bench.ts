/**
 * The audit log: durable, signed appends of 512 bytes from 256 callers (`perSecond`, `p99Ms`) and from one, against a bare
 * loop in the same run. The loop writes what the log made durable, commit for commit: the records of the WAL, fdatasync, a
 * checkpoint, fdatasync, rename, fsync of the directory; it computes and signs nothing. `ratio`: rate of the log over
 * that of the loop. Then what an inclusion proof costs at 10⁴, 10⁵ and 10⁶ entries. On the disk of the checkout.
 */
import { closeSync, fdatasyncSync, fsyncSync, openSync, renameSync, writeSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { verifyLogProof } from '@abaton/verify';
import { createLogKeys } from '../packages/server/src/audit/log-keys.ts';
import { openTileLog, type TileLog } from '../packages/server/src/audit/tile-log.ts';
import type { Figures } from './main.ts';
import { mean, quantile } from './statistics.ts';

const ENTRY_BYTES = 512;
const RECORD_BYTES = 6 + ENTRY_BYTES; // wal.ts: checksum and length before each entry
const SLICE_MS = 1_500;
const ROUNDS = 7;
const MANY = 256;
const SIZES = [10_000, 100_000, 1_000_000];
const BUILD_CALLERS = 4_096; // as many as one commit takes
const PROOFS = 300;

const KEYS = createLogKeys('bench.example/audit', new Uint8Array(32).fill(1));
const ORIGIN = KEYS.originOf(2026);

const entryOf = (n: number): Buffer => Buffer.from(`{"n":${n}}`.padEnd(ENTRY_BYTES, ' '));

interface Slice {
  perSecond: number;
  /** Of each append, or of each commit of the bare loop. */
  latenciesMs: number[];
  /** Entries of each commit. */
  commits: number[];
}

export async function run(): Promise<Figures> {
  const ours = fileURLToPath(new URL('../.abaton', import.meta.url));
  await mkdir(ours, { recursive: true });
  const scratch = await mkdtemp(join(ours, 'bench-audit-'));
  try {
    const one = await compare(join(scratch, 'one'), 1);
    const many = await compare(join(scratch, 'many'), MANY);
    return {
      ratio: many.ratio,
      perSecond: many.perSecond,
      p50Ms: many.p50Ms,
      p99Ms: many.p99Ms,
      barePerSecond: many.barePerSecond,
      entriesPerCommit: many.entriesPerCommit,
      onePerSecond: one.perSecond,
      oneP50Ms: one.p50Ms,
      oneP99Ms: one.p99Ms,
      oneBarePerSecond: one.barePerSecond,
      oneRatio: one.ratio,
      ...(await measureProofs(join(scratch, 'proofs'))),
    };
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

const open = (dir: string): Promise<TileLog> => openTileLog({ dir, origin: ORIGIN, signers: KEYS.signersOf(2026, []) }); // both signatures of the server

/** Log and bare loop in turns, so that a disk that changes its pace does so for both. Rates are medians of the rounds. */
async function compare(dir: string, callers: number) {
  const log = await open(join(dir, 'log'));
  const bare = openBare(await mkdtemp(join(dir, 'bare-')));
  await appendFor(log, callers, SLICE_MS / 3); // warm
  const slices: Slice[] = [];
  const bareSlices: Slice[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const slice = await appendFor(log, callers, SLICE_MS);
    slices.push(slice);
    bareSlices.push(bare.repeat(slice.commits, Buffer.byteLength(log.checkpoint())));
    await sleep(20); // what the log does behind its acknowledgements ends before the next slice
  }
  bare.close();
  await log.close();
  const median = (of: readonly Slice[]) =>
    quantile(
      of.map(({ perSecond }) => perSecond),
      0.5,
    );
  const latencies = slices.flatMap(({ latenciesMs }) => latenciesMs);
  return {
    perSecond: median(slices),
    p50Ms: quantile(latencies, 0.5),
    p99Ms: quantile(latencies, 0.99),
    barePerSecond: median(bareSlices),
    ratio: quantile(
      slices.map((slice, i) => slice.perSecond / bareSlices[i]!.perSecond),
      0.5,
    ),
    entriesPerCommit: mean(slices.flatMap(({ commits }) => commits)),
  };
}

/** Each caller appends again as soon as it is acknowledged. */
async function appendFor(log: TileLog, callers: number, forMs: number): Promise<Slice> {
  const latenciesMs: number[] = [];
  const bySize = new Map<number, number>();
  const beganMs = performance.now();
  const endMs = beganMs + forMs;
  const caller = async (): Promise<void> => {
    for (let nowMs = performance.now(); nowMs < endMs; ) {
      await log.append(entryOf(latenciesMs.length));
      const thenMs = performance.now();
      latenciesMs.push(thenMs - nowMs);
      nowMs = thenMs;
      // The checkpoint that is in force at the acknowledgement stands for the commit.
      bySize.set(log.size(), (bySize.get(log.size()) ?? 0) + 1);
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
  const perSecond = (1000 * latenciesMs.length) / (performance.now() - beganMs);
  return { perSecond, latenciesMs, commits: [...bySize.values()] };
}

function openBare(dir: string) {
  const directory = openSync(dir, 'r');
  const wal = openSync(join(dir, 'wal'), 'w');
  const temporary = join(dir, 'checkpoint.tmp');
  return {
    repeat(commits: readonly number[], checkpointBytes: number): Slice {
      const records = commits.map((entries) => Buffer.alloc(entries * RECORD_BYTES, 97));
      const note = Buffer.alloc(checkpointBytes, 98);
      const beganMs = performance.now();
      const latenciesMs = records.map((bytes) => {
        const startMs = performance.now();
        writeSync(wal, bytes);
        fdatasyncSync(wal);
        const file = openSync(temporary, 'w');
        writeSync(file, note);
        fdatasyncSync(file);
        closeSync(file);
        renameSync(temporary, join(dir, 'checkpoint'));
        fsyncSync(directory);
        return performance.now() - startMs;
      });
      const entries = commits.reduce((sum, count) => sum + count, 0);
      return { perSecond: (1000 * entries) / (performance.now() - beganMs), latenciesMs, commits: [...commits] };
    },
    close() {
      closeSync(wal);
      closeSync(directory);
    },
  };
}

/** Of one log that grows: a proof of an entry anywhere in it, made from the files and verified as a stranger does. */
async function measureProofs(dir: string): Promise<Figures> {
  const figures: Figures = {};
  const log = await open(dir);
  const vkeys = log.vkeys();
  for (const size of SIZES) {
    const beganMs = performance.now();
    const from = log.size();
    for (let at = from; at < size; at += BUILD_CALLERS)
      await Promise.all(
        Array.from({ length: Math.min(BUILD_CALLERS, size - at) }, (_, i) =>
          log.append(Buffer.from(`{"n":${at + i}}`)),
        ),
      );
    const name = `at1e${Math.log10(size)}`;
    figures[`${name}BuildPerSecond`] = (1000 * (size - from)) / (performance.now() - beganMs);
    const makeMs: number[] = [];
    const verifyMs: number[] = [];
    const bytes: number[] = [];
    const hashes: number[] = [];
    for (let i = 0; i < PROOFS; i++) {
      const index = Math.floor((size * (i + Math.random())) / PROOFS);
      const startMs = performance.now();
      const proof = await log.proof(index);
      const madeMs = performance.now();
      verifyLogProof(proof, vkeys);
      makeMs.push(madeMs - startMs);
      verifyMs.push(performance.now() - madeMs);
      bytes.push(JSON.stringify({ ...proof, entry: '' }).length);
      hashes.push(proof.hashes.length);
    }
    figures[`${name}ProofHashes`] = Math.max(...hashes);
    figures[`${name}ProofBytes`] = Math.max(...bytes); // with its checkpoint, without the entry
    figures[`${name}MakeP50Ms`] = quantile(makeMs, 0.5);
    figures[`${name}MakeP99Ms`] = quantile(makeMs, 0.99);
    figures[`${name}VerifyP50Ms`] = quantile(verifyMs, 0.5);
  }
  await log.close();
  return figures;
}
