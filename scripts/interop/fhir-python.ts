/**
 * Our audit events as FHIR R4, read by Python's fhir.resources (its R4B models: AuditEvent is the same in R4 and R4B), which
 * knows elements, cardinalities, types and required values; and refused by it when they are spoilt. Installed with pip in
 * the scratch directory.
 */
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { buildAuditEvent } from '../../packages/server/src/audit/audit-event.ts';
import type { AuditFrame } from '../../packages/server/src/audit/audit-trail.ts';
import { exportedEvent } from '../../packages/server/src/audit/export-event.ts';
import { everyEvent } from '../../packages/server/test/audit/every-event.ts';
import type { InteropResult } from '../interop.ts';

const execute = promisify(execFile);
const PROGRAM = fileURLToPath(new URL('fhir-python/validate.py', import.meta.url));
const PACKAGE = 'fhir.resources==7.1.0';
const NAME = "Python's fhir.resources reads our AuditEvents";

/** Skipped without Python, its venv or a package index. */
export async function run(scratchDir: string): Promise<InteropResult[]> {
  const venv = join(scratchDir, 'fhir-python');
  const python = join(venv, 'bin', 'python');
  try {
    await execute('python3', ['-m', 'venv', venv]);
    await execute(python, ['-m', 'pip', 'install', '--quiet', PACKAGE]);
  } catch {
    return [{ name: NAME, ok: true, detail: `needs Python with venv, and ${PACKAGE}`, skipped: true }];
  }
  const resources = everyEvent().map((event, index) => {
    const { action, actor, patient, object, outcome, facts = {} } = event;
    const [pid, pidEpoch] = patient === null ? [null, null] : ['abcdefghijklmnopqrstuvwxyz', 1];
    const time = '2026-08-20T12:00:00.000Z';
    const frame: AuditFrame = {
      ...{ v: 1, time, boot: 'b', salt: '', action, actor, pid, pidEpoch, object, outcome, facts },
    };
    const resource = buildAuditEvent(frame, { ...event, server: 'interop.example/audit' });
    return [resource, exportedEvent({ origin: 'interop.example/audit', index, frame, event: resource, opened: true })];
  });
  const file = join(scratchDir, 'audit-events.json');
  await writeFile(file, JSON.stringify(resources.flat()));
  const { stdout } = await execute(python, [PROGRAM, file], { maxBuffer: 2 ** 24 });
  const { valid, invalid, spoilt, accepted } = JSON.parse(stdout) as {
    valid: number;
    invalid: string[];
    spoilt: number;
    accepted: string[];
  };
  return [
    {
      name: NAME,
      ok: invalid.length === 0 && valid === resources.flat().length,
      detail: invalid.length === 0 ? `${valid} resources, one of each action and outcome` : invalid.join('; '),
    },
    {
      name: `${NAME}: spoilt ones are refused`,
      ok: accepted.length === 0 && spoilt > 0,
      detail: accepted.length === 0 ? `${spoilt} ways to spoil one` : `accepted: ${accepted.join(', ')}`,
    },
  ];
}
