/** Simulated reference measurements before the judge: one change, one refusal, and what xmlsec1 says of it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { authenticateRim } from '../../src/gpu/rim.ts';
import { VerificationError } from '../../src/index.ts';
import { NOW_MS } from './ocsp-authority.ts';
import { makeRim, rimChain, type SimulatedRim } from './simulated-rim.ts';
import { noXmlsec, xmlsecAccepts } from './xmlsec.ts';

/** 48 bytes in hex. */
export const hash = (digits: string): string => digits.repeat(48);
export const golden = new Map([
  [7, [hash('07')]],
  [9, [hash('90'), hash('91'), hash('92')]],
]);
export const rim = (options: Partial<SimulatedRim> = {}): string =>
  makeRim({ kind: 'driver', version: '580.159.03', golden, ...options }).xml;
export const good = rim();

/** With RIM_INVALID, and within a second. */
export async function refuses(xml: string, seen = /./): Promise<void> {
  const startMs = performance.now();
  await assert.rejects(authenticateRim(xml), (error) => {
    assert.ok(error instanceof VerificationError, String(error));
    assert.equal(error.code, 'RIM_INVALID');
    assert.match(error.message, seen);
    return true;
  });
  assert.ok(performance.now() - startMs < 1000);
}

/** `xmlsec`: whether xmlsec1 accepts it; null: not asked. */
export type Row = [name: string, xml: string, seen: RegExp, xmlsec: boolean | null];

/** A test for each row, and one for xmlsec1. */
export function table(title: string, rows: readonly Row[]): void {
  for (const [name, xml, seen] of rows)
    test(`${title}: ${name}`, async () => {
      assert.notEqual(xml, good);
      await refuses(xml, seen);
    });
  test(`${title}: the opinion of xmlsec1`, { skip: noXmlsec }, () => {
    for (const [name, xml, , xmlsec] of rows)
      if (xmlsec !== null) assert.equal(xmlsecAccepts(xml, rimChain.at(-1)!.der, NOW_MS), xmlsec, name);
  });
}
