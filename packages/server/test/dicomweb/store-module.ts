/** The Store Instances Response Module, read strictly: PS3.18 Table I.1-1 and nothing else. */
import assert from 'node:assert/strict';
import type { Answer } from './client.ts';

interface Element {
  vr: string;
  Value?: unknown[];
}
type Dataset = Record<string, Element>;

export interface StoreModule {
  retrieveUrl: string | null;
  stored: { sopClassUid: string; sopInstanceUid: string; retrieveUrl: string }[];
  failed: { sopClassUid: string; sopInstanceUid: string; reason: number }[];
  other: { reason: number }[];
}

const UID = /^[0-9]+(\.[0-9]+)*$/;

export function parseStoreModule(answer: Answer): StoreModule {
  assert.equal(answer.headers['content-type'], 'application/dicom+json');
  const json = JSON.parse(answer.body.toString()) as Dataset;
  const { '00081190': url, '00081198': failed, '00081199': stored, '0008119A': other, ...rest } = json;
  assert.deepEqual(rest, {}, 'attributes that the module does not have');
  assert.equal(url?.vr, 'UR', 'Retrieve URL is type 2');
  const module = {
    retrieveUrl: url.Value === undefined ? null : text(url, 'UR'),
    stored: items(stored).map((item) => {
      const { '00081150': sopClass, '00081155': instance, '00081190': at, ...rest } = item;
      assert.deepEqual(rest, {});
      return { sopClassUid: uid(sopClass), sopInstanceUid: uid(instance), retrieveUrl: text(at, 'UR') };
    }),
    failed: items(failed).map((item) => {
      const { '00081150': sopClass, '00081155': instance, ...rest } = item;
      return { sopClassUid: uid(sopClass), sopInstanceUid: uid(instance), reason: reason(rest) };
    }),
    other: items(other).map((item) => ({ reason: reason(item) })),
  };
  const failures = module.failed.length + module.other.length;
  assert.equal(answer.status, failures === 0 ? 200 : module.stored.length > 0 ? 202 : 409, 'Table 10.5.3-1');
  return module;
}

/** Type 1C: absent, or with items. */
function items(sequence: Element | undefined): Dataset[] {
  if (sequence === undefined) return [];
  assert.equal(sequence.vr, 'SQ');
  assert.ok(sequence.Value && sequence.Value.length > 0, 'an empty sequence must be absent');
  return sequence.Value as Dataset[];
}

function reason({ '00081197': element, '00000902': comment, ...rest }: Dataset): number {
  assert.deepEqual(rest, {});
  assert.ok(text(comment, 'LO').length <= 64);
  assert.equal(element?.vr, 'US');
  assert.equal(element.Value?.length, 1);
  const [value] = element.Value;
  assert.ok(Number.isInteger(value) && (value as number) > 0 && (value as number) <= 0xffff);
  return value as number;
}

function text(element: Element | undefined, vr: string): string {
  assert.equal(element?.vr, vr);
  assert.equal(element.Value?.length, 1);
  assert.equal(typeof element.Value[0], 'string');
  return element.Value[0] as string;
}

function uid(element: Element | undefined): string {
  const value = text(element, 'UI');
  assert.ok(UID.test(value) && value.length <= 64);
  return value;
}
