/** Visits to a real log behind a real https door: cosigned while it grows; told what is held when it shrinks or forks. */
import assert from 'node:assert/strict';
import { cpSync } from 'node:fs';
import type { RequestListener } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { after, before, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseCheckpoint, parseNote, parseVkey, verifyNote } from '@abaton/verify';
import { type AttestedServer, startAttested } from '../../../client/test/hostile-door.ts';
import { createLogKeys } from '../../../server/src/audit/log-keys.ts';
import { directoryOfLogs } from '../../../server/src/audit/log-place.ts';
import { openYearlyLog, type YearlyLog } from '../../../server/src/audit/yearly-log.ts';
import { createLogger } from '../../src/log.ts';
import { openLogServer } from '../../src/witness/log-server.ts';
import { trustLogs } from '../../src/witness/trusted-logs.ts';
import { startVisits, type VisitsState } from '../../src/witness/witness-visits.ts';
import { GUARD_MS } from '../harness.ts';
import { FAMILY, newWitness, scratchDir, signed, YEAR } from './support.ts';

const keys = createLogKeys(FAMILY, new Uint8Array(32).fill(9));
/** Of the first year alone: the logs of later years stand on it. */
const vkeys = keys.signersOf(YEAR - 1, []).map(({ vkey }) => vkey);

let attested: AttestedServer; // for its certificate, which is in no public PKI
before(async () => {
  attested = await startAttested();
});
after(() => attested.close());

async function openAt(t: TestContext, dir: string): Promise<YearlyLog> {
  const log = await openYearlyLog({ place: directoryOfLogs(dir), keys, firstYear: YEAR - 1 });
  t.after(() => log.close());
  return log;
}

async function grow(log: YearlyLog, count: number, what = 'entry'): Promise<void> {
  await Promise.all(Array.from({ length: count }, (_, i) => log.append(Buffer.from(`{"${what}":${i}}`))));
}

type Served = string | Uint8Array | null;

interface Door {
  url: string;
  log: YearlyLog;
  /** Instead of the log. */
  instead: ((path: string) => Served | Promise<Served>) | null;
  /** Of POST. */
  status: number;
  /** What was brought. */
  notes: string[];
  /** How often a path was asked for. */
  asked: string[];
}

async function openDoor(t: TestContext, log: YearlyLog): Promise<Door> {
  const door: Door = { url: '', log, instead: null, status: 200, notes: [], asked: [] };
  const readFrom = async (path: string): Promise<Served> => {
    if (path === '/checkpoint') return door.log.checkpoint();
    const [, year, rest] = /^\/audit\/(\d{4})\/(.+)$/.exec(path) ?? [];
    return rest === undefined ? null : door.log.readPublic(rest, Number(year));
  };
  const serve: RequestListener = async (request, response) => {
    const path = request.url!;
    door.asked.push(path);
    if (request.method === 'POST') {
      assert.equal(path, '/api/v1/cosignatures');
      assert.equal(request.headers['content-type'], 'text/plain; charset=utf-8');
      door.notes.push(await text(request));
      return void response.writeHead(door.status).end();
    }
    const found = await (door.instead ?? readFrom)(path);
    if (found === null) return void response.writeHead(404).end();
    response.end(found);
  };
  const server = createServer({ key: attested.key.keyPem, cert: attested.key.chainPem.join('\n') }, serve);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  door.url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return door;
}

async function visit(t: TestContext, log: YearlyLog, opened?: Awaited<ReturnType<typeof newWitness>>) {
  const { witness, lines } = opened ?? (await newWitness(t, { logs: () => trustLogs(vkeys) }));
  const door = await openDoor(t, log);
  const logger = createLogger((line) => lines.push(line));
  const visits = startVisits({ witness, server: openLogServer(door.url), logger, pauseMs: () => 10 });
  t.after(() => visits.stop());
  const until = (wanted: (state: VisitsState) => boolean) => reached(() => wanted(visits.state()), visits.state);
  const brought = (size: number, origin = log.current().origin) =>
    reached(() => door.notes.some((note) => isOf(note, origin, size)), visits.state);
  return { witness, lines, door, visits, until, brought };
}

async function reached(is: () => boolean, state: () => unknown = () => ''): Promise<void> {
  for (const deadline = Date.now() + GUARD_MS; Date.now() < deadline; await sleep(10)) if (is()) return;
  throw new Error(`not reached: ${JSON.stringify(state())}`);
}

/** Resolves when the door was visited twice from now on: the first of them has then come to its end. */
async function visited(door: Door): Promise<void> {
  const count = () => door.asked.filter((path) => path === '/checkpoint').length;
  const seen = count();
  await reached(() => count() >= seen + 2);
}

const headOf = (note: string) => parseCheckpoint(parseNote(note).text);
const isOf = (note: string, origin: string, size: number) =>
  headOf(note).origin === origin && headOf(note).size === size;

test('each new checkpoint is cosigned and brought, with the signatures of log and witness; an old one is not brought again', async (t) => {
  const log = await openAt(t, scratchDir(t));
  await grow(log, 3);
  const { witness, door, brought } = await visit(t, log);
  await brought(3);
  for (const size of [4, 300, 513]) {
    await grow(log, size - log.size());
    await brought(size);
  }
  const all = [...vkeys, ...witness.vkeys].map(parseVkey);
  for (const note of door.notes) assert.equal(verifyNote(note, all).signedBy.length, 4);
  const count = door.notes.length;
  await visited(door);
  assert.equal(door.notes.length, count);
});

test('when the year changes, the end of the last year is cosigned first', async (t) => {
  const log = await openAt(t, scratchDir(t));
  await grow(log, 3);
  const { door, brought } = await visit(t, log);
  await brought(3);
  door.instead = () => null; // away over New Year's Eve
  await grow(log, 4);
  log.begin(YEAR, ({ size }) => Buffer.from(`{"after":${size}}`));
  await grow(log, 2);
  door.instead = null;
  await brought(3, `${FAMILY}/${YEAR}`);
  const said = door.notes.map((note) => `${headOf(note).origin} ${headOf(note).size}`);
  assert.deepEqual(said.slice(-2), [`${FAMILY}/${YEAR - 1} 7`, `${FAMILY}/${YEAR} 3`]);
});

/** A log of ten entries, cosigned; and its directory when it had five. */
async function rolledBack(t: TestContext) {
  const [dir, copy] = [scratchDir(t), scratchDir(t)];
  const log = await openAt(t, dir);
  await grow(log, 5);
  await log.current().settled();
  cpSync(dir, copy, { recursive: true });
  await grow(log, 5);
  const running = await visit(t, log);
  await running.brought(10);
  running.door.notes.length = 0;
  return { ...running, old: await openAt(t, copy), log };
}

test('a log that was rolled back is not cosigned: the server is shown what it had signed, once for each note', async (t) => {
  const { door, old, log, until, witness, lines } = await rolledBack(t);
  door.log = old;
  await until(({ trouble }) => trouble === 'inconsistent');
  for (let i = 0; i < 3; i++) await visited(door);
  assert.deepEqual(door.notes, [witness.head(log.current().origin)?.note]);
  assert.ok(lines.some((line) => line.includes('"level":"error","event":"log-rolled-back-or-forked"')));
  door.log = log;
  await until(({ trouble }) => trouble === null);
});

test('nor one that was rolled back and went another way, whether shorter, as long, or longer', async (t) => {
  const { door, old, log, until, witness } = await rolledBack(t);
  for (const size of [8, 10, 14]) {
    await grow(old, size - old.size(), 'other');
    door.log = old;
    const before = door.notes.length;
    await reached(() => door.notes.length > before);
    assert.deepEqual(headOf(door.notes.at(-1)!).size, 10, `at ${size}`);
    assert.equal(witness.head(log.current().origin)?.size, 10);
    door.log = log;
    await until(({ trouble }) => trouble === null);
  }
});

test('nor one that has lost a whole year', async (t) => {
  const [dir, copy] = [scratchDir(t), scratchDir(t)];
  const log = await openAt(t, dir);
  await grow(log, 5);
  await log.current().settled();
  cpSync(dir, copy, { recursive: true });
  log.begin(YEAR, ({ size }) => Buffer.from(`{"after":${size}}`));
  await grow(log, 2);
  const { door, brought, until, witness } = await visit(t, log);
  await brought(3);
  const old = await openAt(t, copy);
  await grow(old, 3);
  door.notes.length = 0;
  door.log = old;
  await until(({ trouble }) => trouble === 'inconsistent');
  assert.deepEqual(
    door.notes.map((note) => headOf(note).origin),
    [`${FAMILY}/${YEAR}`],
  );
  assert.equal(witness.head(`${FAMILY}/${YEAR - 1}`), null);
});

test('what the log has not signed is refused, and is no ground for an accusation', async (t) => {
  const { door, until, witness, log, lines } = await rolledBack(t);
  const { text: shown } = parseNote(log.checkpoint());
  const stranger = createLogKeys(FAMILY, new Uint8Array(32)).signersOf(YEAR - 1, []);
  const later = shown.replace(`/${YEAR - 1}\n`, `/${YEAR - 2}\n`).replace('\n10\n', '\n5\n');
  for (const note of [
    'nonsense',
    '',
    signed(shown.replace('\n10\n', '\n9\n'), stranger),
    signed(shown.replace('\n10\n', '\n11\n'), stranger),
    signed(later, stranger),
    signed(shown.replace(FAMILY, 'else.example/audit'), stranger),
    signed(shown.replace(`/${YEAR - 1}\n`, '\n'), stranger),
  ]) {
    door.instead = (path) => (path.endsWith('checkpoint') ? note : new Uint8Array(8192));
    await visited(door);
    await until(({ trouble }) => trouble === 'refused');
  }
  assert.deepEqual(door.notes, []);
  assert.equal(witness.head(log.current().origin)?.size, 10);
  assert.ok(lines.some((line) => line.includes('checkpoint-refused')));
});

test('tiles that lead elsewhere or are missing, and endless answers: nothing is cosigned', async (t) => {
  const { door, until, witness, log } = await rolledBack(t);
  await grow(log, 20);
  door.instead = (path) => (path === '/checkpoint' ? log.checkpoint() : null);
  await until(({ trouble }) => trouble === 'unreachable');
  door.instead = (path) => (path === '/checkpoint' ? log.checkpoint() : new Uint8Array(8192));
  await until(({ trouble }) => trouble === 'inconsistent');
  door.instead = () => 'x'.repeat(2 ** 20);
  await until(({ trouble }) => trouble === 'unreachable');
  assert.equal(witness.head(log.current().origin)?.size, 10);
  door.instead = null;
  await until(({ delivered, trouble }) => trouble === null && delivered?.size === 30);
});

test('a note that the server did not take is brought again; so is the newest after it was away', async (t) => {
  const log = await openAt(t, scratchDir(t));
  await grow(log, 3);
  const { door, until, witness } = await visit(t, log);
  await until(({ delivered }) => delivered?.size === 3);
  door.status = 503;
  await grow(log, 1);
  await until(({ trouble }) => trouble === 'undelivered');
  door.status = 204;
  await until(({ delivered, trouble }) => trouble === null && delivered?.size === 4);
  door.instead = () => 'x'.repeat(2 ** 20); // it breaks down, and comes back without its memory
  await until(({ trouble }) => trouble === 'unreachable');
  door.notes.length = 0;
  door.instead = null;
  await until(({ trouble }) => trouble === null);
  await reached(() => door.notes.length === 1);
  assert.equal(door.notes[0], witness.head(log.current().origin)?.note);
});

test('a log that comes to the witness itself meanwhile is no rollback', async (t) => {
  const { door, until, witness, log, lines } = await rolledBack(t);
  const at10 = log.checkpoint();
  door.instead = () => at10;
  await visited(door);
  await grow(log, 2);
  const at12 = log.checkpoint();
  await grow(log, 3);
  const { checkpoint, hashes } = await log.current().consistencyProof(10);
  door.instead = async (path) => {
    if (path !== '/checkpoint') return log.readPublic(path.slice(`/audit/${YEAR}/`.length));
    if (witness.head(log.current().origin)?.size !== 10) return log.checkpoint();
    const { status } = await witness.addCheckpoint(['old 10', ...hashes, '', checkpoint].join('\n'));
    assert.equal(status, 200);
    return at12;
  };
  await until(({ delivered }) => delivered?.size === 15);
  assert.deepEqual(
    door.notes.map((note) => headOf(note).size),
    [15],
  );
  assert.ok(!lines.some((line) => line.includes('rolled-back')));
});
