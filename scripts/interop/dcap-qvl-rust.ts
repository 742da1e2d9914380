/**
 * A third opinion on Intel TDX quotes: the Rust crate `dcap-qvl`, newer than the packages that the tests compare with. The
 * program is built in the scratch directory; its crates come through cargo's ordinary registry.
 */
import { execFile, spawn } from 'node:child_process';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import {
  type DcapCase,
  dcapCases,
  KNOWN_DISAGREEMENTS,
  ourStatus,
} from '../../packages/verify/test/support/dcap-cases.ts';
import { skip } from '../../packages/verify/test/support/shared-data.ts';
import type { InteropResult } from '../interop.ts';

const execute = promisify(execFile);
const SOURCE = fileURLToPath(new URL('dcap-qvl-rust', import.meta.url));

type Answer = { status: string; advisories: string[] } | { error: string };

/** Returns no results without cargo or without the shared quotes. */
export async function run(scratchDir: string): Promise<InteropResult[]> {
  const why = skip || ((await execute('cargo', ['--version']).catch(() => null)) ? false : 'needs cargo');
  if (why) {
    console.log(`- dcap-qvl-rust skipped: ${why}`);
    return [];
  }
  const program = join(scratchDir, 'dcap-qvl-rust');
  await cp(SOURCE, program, { recursive: true });
  await execute('cargo', ['build', '--release', '--locked'], { cwd: program, maxBuffer: 2 ** 24 });
  const cases = dcapCases();
  const answers = await ask(join(program, 'target/release/dcap-qvl-interop'), cases);
  return Promise.all(cases.map((each, index) => compare(each, answers[index]!)));
}

async function ask(program: string, cases: readonly DcapCase[]): Promise<Answer[]> {
  const child = spawn(program, { stdio: ['pipe', 'pipe', 'inherit'] });
  for (const { quote, collateral, nowMs } of cases)
    child.stdin.write(`${JSON.stringify({ quote: quote.toString('hex'), collateral, now: nowMs / 1000 })}\n`);
  child.stdin.end();
  return (await text(child.stdout))
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
}

/** They agree on status and advisories, or on refusing; or the disagreement is a known one. */
async function compare(each: DcapCase, answer: Answer): Promise<InteropResult> {
  const ours = await ourStatus(each);
  const theirs = 'error' in answer ? null : [answer.status, ...answer.advisories.toSorted()].join(' ');
  const name = `Rust's dcap-qvl on a quote: ${each.name}`;
  if (theirs === ours) return { name, ok: true, detail: ours ?? 'refused by both' };
  const reason = ours === null && KNOWN_DISAGREEMENTS[each.name];
  const detail = `here ${ours ?? 'refused'}, there ${theirs ?? 'refused'}`;
  return reason ? { name, ok: true, known: true, detail: `${detail}: ${reason}` } : { name, ok: false, detail };
}
