/** An officer sees what closed the door of a real server, and opens it by a signed cause, over a verified connection. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Door } from '../../server/src/http/server.ts';
import { type AttestedServer, startAttested } from '../../server/test/tee/attested-server.ts';
import { openDesk, openIncidentDoor } from '../../server/test/tee/incident-door.ts';
import { runIncidentList, runIncidentResolve } from '../src/incident-command.ts';
import { runPolicyKey } from '../src/policy-command.ts';

const dir = mkdtempSync(join(tmpdir(), 'abaton-incident-'));
const key = join(dir, 'anna.pem');
const strangerKey = join(dir, 'cy.pem');
const name = 'hospital.example/anna';
let server: AttestedServer;
let door: Door;
let trust: { url: string; policy: string; acceptSimulated: string[] };

/** What a command prints, and its exit code. */
async function run(work: () => number | Promise<number>): Promise<{ exit: number; printed: string }> {
  const { write } = process.stdout;
  let printed = '';
  process.stdout.write = (text: string | Uint8Array) => {
    printed += text;
    return true;
  };
  try {
    return { exit: await work(), printed };
  } finally {
    process.stdout.write = write;
  }
}

before(async () => {
  server = await startAttested({ latched: true });
  await server.boot();
  const { printed } = await run(() => runPolicyKey(key, { name }));
  await run(() => runPolicyKey(strangerKey, { name }));
  const officers = [{ name: 'Anna', role: 'security-officer', public_key: printed.trim() }];
  door = await openIncidentDoor(server, openDesk(server, officers));
  const { policyFile, rootSha256 } = server.tee;
  trust = { url: `https://localhost:${door.port}`, policy: policyFile, acceptSimulated: [rootSha256] };
});
after(async () => {
  await door.close(0);
  await server.close();
  rmSync(dir, { recursive: true });
});

test('list, resolve, list again', async () => {
  assert.deepEqual(await run(() => runIncidentList(trust)), { exit: 0, printed: 'No incident.\n' });
  await server.tee.setFault('pck-revoked');
  server.forgetCollateral();
  await server.monitor.attest();
  const { id, at } = server.latch.open()[0]!;
  const cause = { cause: 'Platform exchanged after a recall.', key, name };
  await assert.rejects(
    runIncidentResolve(id, { ...trust, ...cause }),
    { code: 'NOT_VERIFIED' },
    'nothing is sent there',
  );
  await server.tee.setFault(null);
  server.forgetCollateral();
  const listed = await run(() => runIncidentList(trust));
  assert.deepEqual(listed, { exit: 0, printed: `${id}  ${at}  open  CERTIFICATE_REVOKED\n` });

  await assert.rejects(runIncidentResolve(id, { ...trust, ...cause, key: strangerKey }), {
    code: 'RESOLUTION_INVALID',
    name: 'RejectedError',
  });
  await assert.rejects(runIncidentResolve('ff'.repeat(8), { ...trust, ...cause }), {
    code: 'INCIDENT_UNKNOWN',
    name: 'ConfigurationError',
  });
  assert.equal(server.gate.state().open, false);
  const resolved = await run(() => runIncidentResolve(id, { ...trust, ...cause }));
  const line = `${id}  ${at}  resolved  CERTIFICATE_REVOKED`;
  assert.deepEqual(resolved, { exit: 0, printed: `${line}\nThe gate is open.\n` });
  const json = await run(() => runIncidentList({ ...trust, json: true }));
  assert.deepEqual(JSON.parse(json.printed).incidents[0].state, 'resolved');
});

test('exit 2 while the gate does not open yet, and it says why', async () => {
  await server.tee.setFault('pck-revoked');
  server.forgetCollateral();
  await server.monitor.attest();
  await server.tee.setFault('debug');
  await server.monitor.attest();
  await server.tee.setFault(null);
  server.forgetCollateral();
  const [first, second] = server.latch.open();
  const flags = { ...trust, cause: 'Known.', key, name };
  const one = await run(() => runIncidentResolve(first!.id, flags));
  assert.equal(one.exit, 2);
  assert.match(one.printed, /still closed: incident-open\./);
  assert.equal((await run(() => runIncidentResolve(second!.id, flags))).exit, 0);
});

test('what cannot be signed is refused before anybody is asked', async () => {
  const flags = { ...trust, url: 'https://localhost:1', cause: 'Known.', key, name };
  const id = 'ab'.repeat(8);
  for (const [change, message] of [
    [{ cause: 'two\nlines' }, /--cause/],
    [{ cause: ' ' }, /--cause/],
    [{ cause: 'x'.repeat(501) }, /--cause/],
    [{ key: join(dir, 'missing') }, /cannot be read/],
  ] as const)
    await assert.rejects(runIncidentResolve(id, { ...flags, ...change }), { code: 'USAGE', message });
  await assert.rejects(runIncidentResolve('../../x', flags), { code: 'USAGE' });
});
