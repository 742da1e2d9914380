/**
 * Kill points: wherever two durable steps follow each other, the code between them names itself here, so that a test
 * can stop the process at exactly that place and look at what a restart makes of it (I6). Without a kill point, which
 * is always so in production, `durableStep` does nothing.
 */
import { errorOf } from './errors.ts';

/** Every place, in the order in which a study passes them. The kill tests stop the process once at each. */
export const DURABLE_STEPS = [
  'migration-committed',
  'epoch-created',
  'blob-synced',
  'blob-stored',
  'patient-key-committed',
  'instances-committed',
  'accounting-key-committed',
  'job-leased',
  'result-committed',
  'blob-deleted',
  'accounting-key-destroyed',
  'epoch-rotated',
  'audit-wal-written',
  'audit-wal-synced',
  'audit-tiles-written',
  'audit-checkpoint-written',
  'audit-checkpoint-renamed',
  'audit-checkpoint-synced',
  'audit-segment-created',
  'audit-tiles-synced',
  'audit-segment-removed',
] as const;

export type DurableStep = (typeof DURABLE_STEPS)[number];

let killAt: { name: string; passes: number } | null = null;

/** `name` or `name:N`: the process kills itself (SIGKILL) at the N-th pass; null: never. Throws SETTING_INVALID. */
export function setKillPoint(spec: string | null): void {
  const [name = '', passes = '1', ...rest] = spec?.split(':') ?? [];
  if (spec !== null && (rest.length > 0 || !DURABLE_STEPS.some((s) => s === name) || !/^[1-9]\d{0,8}$/.test(passes)))
    throw errorOf(
      'SETTING_INVALID',
      `A kill point is NAME or NAME:N, where NAME is one of ${DURABLE_STEPS.join(', ')}.`,
    );
  killAt = spec === null ? null : { name, passes: Number(passes) };
}

/** Called when the step `name` has become durable and before the next one begins. */
export function durableStep(name: DurableStep): void {
  if (killAt?.name === name && --killAt.passes === 0) process.kill(process.pid, 'SIGKILL');
}
