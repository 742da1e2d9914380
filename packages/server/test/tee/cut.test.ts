/** I1: what runs when the platform turns out to be false is cut at once, in both directions; opened keys are dropped. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { type EventEmitter, once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import https from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Door, openDoor } from '../../src/http/server.ts';
import { openState } from '../../src/open-state.ts';
import type { PatientRef } from '../../src/vault/vault.ts';
import { type AttestedServer, startAttested } from './attested-server.ts';

async function revoke(server: AttestedServer): Promise<void> {
  await server.tee.setFault('pck-revoked');
  server.forgetCollateral();
  await server.monitor.attest();
}

/** Whether or not an error comes before. */
const closed = (emitter: EventEmitter) =>
  new Promise<void>((resolve) => emitter.on('error', () => {}).on('close', resolve));

test('a running upload and a running download are cut', async () => {
  const server = await startAttested({ latched: true });
  await server.boot();
  const { gate } = server;
  let upload: Promise<unknown> = Promise.resolve();
  let began = () => {};
  const uploading = new Promise<void>((resolve) => {
    began = resolve;
  });
  // the whole connection: also a reader that stands still holds bytes on the way
  const door: Door = await openDoor({
    key: server.key,
    host: '127.0.0.1',
    port: 0,
    handler(request) {
      if (request.method === 'GET') {
        const endless = new ReadableStream({ pull: (controller) => controller.enqueue(new Uint8Array(65_536)) });
        return new Response(endless);
      }
      upload = (async () => {
        for await (const _ of request.body!) began();
      })();
      return upload.then(
        () => new Response(null),
        () => new Response(null),
      );
    },
  });
  gate.onClose(door.cut);
  const options = { rejectUnauthorized: false, agent: false } as const;
  const url = `https://127.0.0.1:${door.port}/`;
  const down = https.get(url, options);
  const [answer] = await once(down, 'response'); // and is not read on
  const up = https.request(url, { ...options, method: 'POST' });
  up.write('half of a study');
  await uploading;
  const ends = Promise.all([closed(up), closed(answer)]);
  await revoke(server);
  answer.resume();
  await ends;
  assert.equal(answer.complete, false, 'the part does not pass for the whole');
  await assert.rejects(upload);
  const [again] = await once(https.get(url, options), 'response');
  assert.equal(again.statusCode, 200, 'the door is there: it has to say that it is closed');
  again.destroy();
  await door.close(0);
  await server.close();
});

test('an incident drops the patient keys that were opened', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'abaton-cut-'));
  const state = await openState({
    dataDir: dir,
    teeKey: randomBytes(32),
    keyholderShare: null,
    tenant: 'test',
    studyIdleMs: 0,
  });
  const server = await startAttested({ latched: true });
  await server.boot();
  server.gate.onClose(() => state.keys.forget());
  const patient = 'patient-reference-of-a-test' as PatientRef;
  await state.keys.forSealing(patient);
  await state.db.query('delete from patient_keys');
  await state.keys.forOpening(patient); // from memory
  await revoke(server);
  await assert.rejects(state.keys.forOpening(patient), { code: 'SEAL_BROKEN' });
  await state.close();
  await server.close();
  rmSync(dir, { recursive: true });
});

test('a transient failure cuts nothing, and a listener that fails does not keep the others from hearing', async () => {
  const server = await startAttested({ latched: true });
  await server.boot();
  const heard: string[] = [];
  server.gate.onClose(() => {
    throw new Error('defect');
  });
  const stop = server.gate.onClose(() => heard.push('stopped'));
  server.gate.onClose(() => heard.push('last'));
  stop();
  await server.tee.setFault('agent-down');
  await server.monitor.attest();
  assert.deepEqual(heard, []);
  await revoke(server);
  assert.deepEqual(heard, ['last']);
  assert.ok(server.lines.some((line) => JSON.parse(line).event === 'defect'));
  await server.close();
});
