/**
 * A third opinion on Intel TDX quotes: the Rust crate `dcap-qvl`, newer than the packages that the tests compare with. On
 * real quotes the JavaScript package stands beside it. The program is built in the scratch directory; its crates come
 * through cargo's ordinary registry, and after that nothing is asked of the network.
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
import { SIMULATED_DISAGREEMENTS, simulatedDcapCases } from '../../packages/verify/test/support/dcap-simulated.ts';
import { qvl, skip } from '../../packages/verify/test/support/shared-data.ts';
import type { InteropResult } from '../interop.ts';

const execute = promisify(execFile);
const SOURCE = fileURLToPath(new URL('dcap-qvl-rust', import.meta.url));
const NAME = 'dcap-qvl judges quotes';
/** One bit of every third byte, in turn: a byte of each field, and some of each certificate. */
const SWEEP_STEP = 3;

/** Status and advisories in one string; null when the quote is refused. */
type Opinion = string | null;

/** Skipped without cargo, its crates, or the shared quotes. */
export async function run(scratchDir: string): Promise<InteropResult[]> {
  const skipped = (detail: string): InteropResult[] => [{ name: NAME, ok: true, detail, skipped: true }];
  if (skip) return skipped(skip);
  if (!(await execute('cargo', ['--version']).catch(() => null))) return skipped('needs cargo');
  const cwd = join(scratchDir, 'dcap-qvl-rust');
  await cp(SOURCE, cwd, { recursive: true });
  if (!(await execute('cargo', ['fetch', '--locked'], { cwd }).catch(() => null)))
    return skipped('needs the crates of Cargo.lock, and a registry to fetch them from');
  await execute('cargo', ['build', '--release', '--locked', '--offline'], { cwd, maxBuffer: 2 ** 24 });
  const program = join(cwd, 'target/release/dcap-qvl-interop');
  return [await sweep(program), ...(await compareReal(program)), ...(await compareSimulated(program))];
}

/** Real quotes and collateral, as they are and bent: a row for each. */
async function compareReal(program: string): Promise<InteropResult[]> {
  const cases = dcapCases();
  const rust = await askRust(program, cases);
  return Promise.all(
    cases.map(async (each, index) => {
      const others = { Rust: rust[index]!, JavaScript: askJavaScript(each) };
      return conclude(`${NAME}: ${each.name}`, await ourStatus(each), others, KNOWN_DISAGREEMENTS[each.name]);
    }),
  );
}

/** Simulated platforms, under their own root: one row for those in which both agree, and one for each other. */
async function compareSimulated(program: string): Promise<InteropResult[]> {
  const cases = simulatedDcapCases();
  const rust = await askRust(program, cases);
  const ours = await Promise.all(cases.map(ourStatus));
  const agreed = ours.filter((opinion, index) => opinion === rust[index]);
  const detail = `${agreed.length} of ${cases.length}: ${agreed.filter((opinion) => opinion === null).length} refused by both, the others of the same status and advisories`;
  return [
    { name: `${NAME}: simulated platforms`, ok: true, detail },
    ...cases.flatMap(({ name }, index) =>
      ours[index] === rust[index]
        ? []
        : [
            conclude(
              `${NAME}: simulated, ${name}`,
              ours[index]!,
              { Rust: rust[index]! },
              SIMULATED_DISAGREEMENTS[name],
            ),
          ],
    ),
  ];
}

/** We accept no real quote in which a bit is turned. */
async function sweep(program: string): Promise<InteropResult> {
  const [good] = dcapCases();
  const cases = Array.from({ length: Math.ceil(good!.quote.length / SWEEP_STEP) }, (_, index): DcapCase => {
    const quote = Buffer.from(good!.quote);
    quote[index * SWEEP_STEP]! ^= 1 << (index % 8);
    return { ...good!, quote };
  });
  const rust = await askRust(program, cases);
  const ours: Opinion[] = [];
  for (const each of cases) ours.push(await ourStatus(each));
  const count = (opinions: Opinion[]) => opinions.filter((opinion) => opinion !== null).length;
  return {
    name: `${NAME}: one bit turned in every ${SWEEP_STEP}rd byte of near-mpc`,
    ok: count(ours) === 0,
    detail: `${cases.length} quotes, of which ${count(ours)} are accepted here and ${count(rust)} by Rust`,
    ...(count(rust) > 0 && {
      reason:
        'it does not compare the root in the quote, line ends of PEM, two lengths, and what follows the signature',
    }),
  };
}

/** All of one opinion; or there is a reason why ours is the stricter. */
function conclude(
  name: string,
  ours: Opinion,
  others: Record<string, Opinion>,
  reason: string | undefined,
): InteropResult {
  if (Object.values(others).every((opinion) => opinion === ours))
    return { name, ok: true, detail: ours ?? 'refused by all' };
  const said = Object.entries({ here: ours, ...others }).map(([who, opinion]) => `${who} ${opinion ?? 'refused'}`);
  const lenient = ours !== null && Object.values(others).includes(null);
  return { name, ok: !lenient && reason !== undefined, detail: said.join(', '), ...(!lenient && reason && { reason }) };
}

async function askRust(program: string, cases: readonly DcapCase[]): Promise<Opinion[]> {
  const child = spawn(program, { stdio: ['pipe', 'pipe', 'inherit'] });
  const answers = text(child.stdout);
  for (const { quote, collateral, nowMs, root } of cases) {
    const line = { quote: quote.toString('hex'), collateral, now: nowMs / 1000, root: root?.toString('hex') ?? null };
    child.stdin.write(`${JSON.stringify(line)}\n`);
  }
  child.stdin.end();
  const lines = (await answers).trim().split('\n');
  if (lines.length !== cases.length) throw new Error(`${cases.length} answers expected, ${lines.length} came`);
  return lines
    .map((line): { status: string; advisories: string[] } | { error: string } => JSON.parse(line))
    .map((answer) => ('error' in answer ? null : write(answer.status, answer.advisories)));
}

function askJavaScript({ quote, collateral, nowMs }: DcapCase): Opinion {
  try {
    const { status, advisory_ids } = qvl.verify(Buffer.from(quote), collateral, nowMs / 1000);
    return write(status, advisory_ids);
  } catch {
    return null; // it refuses by throwing
  }
}

const write = (status: string, advisories: readonly string[]) => [status, ...advisories.toSorted()].join(' ');
