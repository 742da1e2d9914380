/**
 * The command as people type it: each `*.script` beside this file is documentation and test in one, run against one real
 * software TEE and server.
 *
 *   # a comment
 *   $ abaton verify {url}      {…} comes from `names` below; run as `node packages/cli/bin/abaton.mjs …`
 *   a line of stdout           <hex> <n> <score> <text> stand for what differs from run to run
 *   ...                        any lines
 *   ! a line of stderr
 *   exit 1
 *
 * With `--json` stdout must be one line, one JSON object that follows its schema in docs/reference.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { connectVerified } from '@abaton/client';
import { ED25519_TYPE, formatVkey } from '@abaton/verify';
import { createLogKeys } from '../../packages/server/src/audit/log-keys.ts';
import { directoryOfLogs } from '../../packages/server/src/audit/log-place.ts';
import { openYearlyLog } from '../../packages/server/src/audit/yearly-log.ts';
import { drawPhantom } from '../../packages/server/src/imaging/phantom.ts';
import { root, type Stack, startStack } from '../e2e/stack.ts';
import { errorsOf } from './json-schemas.ts';

interface Step {
  command: string;
  stdout: string[];
  stderr: string[];
  exit: number;
}

function parseScript(text: string): Step[] {
  const steps: Step[] = [];
  let step: Step | undefined;
  for (const line of text.split('\n')) {
    if (line.startsWith('$ ')) {
      step = { command: line.slice(2), stdout: [], stderr: [], exit: -1 };
      steps.push(step);
    } else if (!step) assert.match(line, /^(#.*)?$/, 'only comments stand between commands');
    else if (/^exit \d$/.test(line)) {
      step.exit = Number(line.slice(5));
      step = undefined;
    } else if (line.startsWith('! ')) step.stderr.push(line.slice(2));
    else step.stdout.push(line);
  }
  return steps;
}

const PATTERNS: Record<string, string> = {
  hex: '[0-9a-f]+',
  n: '\\d+',
  score: '[01](?:\\.\\d+)?',
  text: '.*',
};

function patternOf(lines: string[]): RegExp {
  const patterns = lines.map((line) => {
    if (line === '...') return '(?:.*\\n)*?';
    return `${line
      .split(/<(hex|n|score|text)>/)
      .map((part, i) => (i % 2 ? PATTERNS[part] : RegExp.escape(part)))
      .join('')}\\n`;
  });
  return new RegExp(`^${patterns.join('')}$`);
}

const run = (command: string) =>
  new Promise<{ stdout: string; stderr: string; exit: number | string | null }>((resolve) => {
    const [program, ...args] = command.split(' ');
    assert.equal(program, 'abaton');
    const child = execFile(
      process.execPath,
      ['packages/cli/bin/abaton.mjs', ...args],
      { cwd: root },
      (_error, stdout, stderr) => resolve({ stdout, stderr, exit: child.exitCode ?? child.signalCode }),
    );
  });

// biome-ignore lint/suspicious/noExplicitAny: JSON that the tests below change in forbidden ways
type Json = any;
/** By schema: what the commands have printed. */
const printed: Record<'verdict' | 'analyze', Json[]> = { verdict: [], analyze: [] };
let stack: Stack;
const names: Record<string, string> = {};
before(async () => {
  stack = await startStack();
  const { softTee, dir } = stack;
  const write = (name: string, content: string | Uint8Array) => {
    writeFileSync(join(dir, name), content);
    return join(dir, name);
  };
  const phantom = (name: string, studyInstanceUid: string, ageYears: number) =>
    write(name, drawPhantom({ studyInstanceUid, ageYears, now: new Date() }));
  mkdirSync(join(dir, 'mixed'));
  const server = await stack.startServer();
  const { evidence, close } = await connectVerified(stack.trust());
  close();
  assert.ok(evidence.teeType === 'intel-tdx');
  const officer = generateKeyPairSync('ed25519');
  // a log that nobody writes meanwhile, as a copy of one is
  const keys = createLogKeys('hospital.example/audit', new Uint8Array(32));
  const log = await openYearlyLog({ place: directoryOfLogs(join(dir, 'audit')), keys, firstYear: 2025 });
  const [lastYear] = log.vkeys();
  await log.append(Buffer.from('{"n":0}'));
  log.begin(2026, ({ size }) => Buffer.from(`{"after":${size}}`));
  for (let i = 0; i < 2; i++) await log.append(Buffer.from(`{"n":${i}}`));
  await log.close();
  Object.assign(names, {
    url: server.url,
    log: join(dir, 'audit', '2026'),
    logVkey: log.vkeys()[0],
    mlDsaVkey: log.vkeys()[1],
    lastYear,
    quote: write('quote.bin', Buffer.from(evidence.quote, 'hex')),
    collateral: write('collateral.json', JSON.stringify(evidence.collateral)),
    eventLog: write('event-log.json', JSON.stringify({ event_log: JSON.stringify(evidence.eventLog) })),
    appCompose: write('app-compose.json', evidence.appCompose),
    saved: join(dir, 'saved.json'),
    keyFile: join(dir, 'officer.pem'),
    toSign: write('to-sign.json', `${JSON.stringify(softTee.policy, null, 2)}\n`),
    officerKey: write('bo.pem', officer.privateKey.export({ type: 'pkcs8', format: 'pem' })),
    officer: vkeyOf('officer.example/bo', officer.publicKey),
    stranger: vkeyOf('officer.example/cy', generateKeyPairSync('ed25519').publicKey),
    codeHash: softTee.codeHash,
    root: softTee.rootSha256,
    policy: softTee.policyFile,
    missing: join(dir, 'missing'),
    notJson: write('policy.txt', 'codeHashes: all'),
    unknownMember: write('policy.json', JSON.stringify({ ...softTee.policy, trust: 'intel-tdx' })),
    repeatedMember: write('repeated.json', '{ "version": 1, "codeHashes": [], "codeHashes": [] }'),
    gpuPolicy: write('gpu-policy.json', '{ "version": 1, "gpu": { "count": 8 } }'),
    child: phantom('child.dcm', '2.25.4001', 4),
    adult: phantom('adult.dcm', '2.25.4002', 40),
    text: write('notes.txt', 'no image'),
    mixed: join(dir, 'mixed'),
    empty: join(dir, 'empty'),
    keyholderKey: join(dir, 'keyholder.key'),
    keyholderDir: join(dir, 'shares'),
    escrow: join(dir, 'escrow'),
    passphrase: write('passphrase', 'seven horses, one bridge\n'),
    shortPassphrase: write('short-passphrase', 'seven\n'),
  });
  mkdirSync(names.empty!);
  mkdirSync(names.keyholderDir!);
  phantom('mixed/1.dcm', '2.25.4003', 3);
  write('mixed/2.txt', 'no image');
});
after(() => stack.close());

/** Names a key as `abaton policy key` prints it. */
const vkeyOf = (name: string, key: KeyObject) =>
  formatVkey(name, ED25519_TYPE, Buffer.from(key.export({ format: 'jwk' }).x!, 'base64url'));

const fill = (line: string): string => line.replace(/\{(\w+)\}/g, (_, name) => names[name] ?? assert.fail(`{${name}}`));

for (const file of readdirSync(import.meta.dirname).filter((name) => name.endsWith('.script')))
  suite(file, () => {
    const steps = parseScript(readFileSync(join(import.meta.dirname, file), 'utf8'));
    assert.ok(steps.length > 0);
    for (const { command, stdout, stderr, exit } of steps)
      test(command, { timeout: 60_000 }, async () => {
        const seen = await run(fill(command));
        assert.match(seen.stdout, patternOf(stdout.map(fill)));
        assert.match(seen.stderr, patternOf(stderr.map(fill)));
        assert.equal(seen.exit, exit);
        if (!command.includes('--json')) return;
        assert.match(seen.stdout, /^.+\n$/, 'one line');
        const schema = command.startsWith('abaton analyze') ? 'analyze' : 'verdict';
        printed[schema].push(JSON.parse(seen.stdout));
        assert.deepEqual(errorsOf(schema, printed[schema].at(-1)), []);
      });
  });

test('the schemas refuse what the command must not print', () => {
  const changed = (schema: keyof typeof printed, member: string, change: (output: Json) => void) => {
    const output = structuredClone(
      printed[schema].find((each) => Object.hasOwn(each, member) && each.scope !== 'evidence-only'),
    );
    assert.ok(output, `${schema} was printed with ${member}`);
    change(output);
    return errorsOf(schema, output).length;
  };
  const verdicts: ((verdict: Json) => void)[] = [
    (v) => Object.assign(v, { send: 'phi' }), // by a software TEE
    (v) => Object.assign(v, { valid: false }),
    (v) => Object.assign(v, { trust: 'hardware' }),
    (v) => Object.assign(v, { headline: 'HIPAA compliant' }),
    (v) => Object.assign(v, { compliance: { hipaa: true } }),
    (v) => Object.assign(v, { score: 1 }),
    (v) => Object.assign(v.checks[0], { status: 'fail' }), // without a code
    (v) => Object.assign(v.checks[0], { code: 'TD_DEBUG' }), // of a check that has passed
    (v) => Object.assign(v, { scope: 'evidence-only', send: 'phi' }),
    (v) => v.checks.splice(0),
    (v) => delete v.codeHash,
  ];
  for (const change of verdicts) assert.ok(changed('verdict', 'headline', change) > 0, String(change));
  const results: ((result: Json) => void)[] = [
    (r) => Object.assign(r, { outcome: 'failed' }), // with a finding
    (r) => Object.assign(r, { finding: null }),
    (r) => Object.assign(r.finding, { score: 1.1 }),
    (r) => Object.assign(r.finding, { probability: 0.5 }),
    (r) => Object.assign(r, { studyInstanceUid: 'DOE^JANE' }),
    (r) => delete r.evidenceId,
  ];
  for (const change of results)
    assert.ok(
      changed('analyze', 'studies', (report) => change(report.studies[0].results[0].result)) > 0,
      String(change),
    );
  assert.ok(changed('analyze', 'error', (output) => delete output.error.code) > 0);
});
