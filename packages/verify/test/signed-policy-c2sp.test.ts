/** Policies that officers sign: how many, which, and what does not count. */
import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import { test } from 'node:test';
import {
  AbatonError,
  ConfigurationError,
  ED25519_TYPE,
  formatSignatureLine,
  formatVkey,
  parsePolicyText,
  parseVkey,
  verifySignedPolicy,
} from '../src/index.ts';

function officer(name: string, key = generateKeyPairSync('ed25519')) {
  const { x } = key.publicKey.export({ format: 'jwk' });
  const vkey = formatVkey(name, ED25519_TYPE, Buffer.from(x!, 'base64url'));
  const line = (text: string) => formatSignatureLine(parseVkey(vkey), sign(null, Buffer.from(text), key.privateKey));
  return { key, vkey, line };
}

const TEXT = '{ "version": 1, "minTcbEvaluationDataNumber": 17 }\n';
const [anna, bo, cy] = ['anna', 'bo', 'cy'].map((name) => officer(name));
const note = (text: string, ...officers: (typeof anna)[]) =>
  `${text}\n${officers.map((each) => each!.line(text)).join('')}`;
const refusal = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof AbatonError, String(error));
    return error.code;
  }
  return assert.fail('nothing was refused');
};

test('as many of the named officers as are asked for', () => {
  const both = note(TEXT, anna, bo);
  const officers = [anna!.vkey, bo!.vkey, cy!.vkey];
  for (const threshold of [1, 2])
    assert.equal(verifySignedPolicy(both, officers, threshold).minTcbEvaluationDataNumber, 17);
  for (const threshold of [3, 4, 0, -1, 1.5, Number.NaN, undefined as unknown as number])
    assert.equal(
      refusal(() => verifySignedPolicy(both, officers, threshold)),
      'POLICY_UNSIGNED',
      `${threshold}`,
    );
  assert.equal(
    refusal(() => verifySignedPolicy(both, [cy!.vkey], 1)),
    'POLICY_UNSIGNED',
  );
  assert.equal(
    refusal(() => verifySignedPolicy(note(TEXT, anna, anna), officers, 2)),
    'POLICY_UNSIGNED',
  );
  assert.equal(
    refusal(() => verifySignedPolicy(both.replace('17', '16'), officers, 1)),
    'POLICY_UNSIGNED',
  );
});

test('one key under two names is one officer', () => {
  const alias = officer('anna-again', anna!.key);
  const twice = note(TEXT, anna, alias);
  assert.equal(
    refusal(() => verifySignedPolicy(twice, [anna!.vkey, alias.vkey], 2)),
    'VKEY_INVALID',
  );
  assert.equal(
    refusal(() => verifySignedPolicy(note(TEXT, bo), [anna!.vkey, anna!.vkey, bo!.vkey], 1)),
    'VKEY_INVALID',
  );
});

test('what was signed must be a policy, and say everything once', () => {
  for (const text of ['{ "version": 2 }\n', 'codeHashes: all\n', '{ "version": 1, "version": 1 }\n'])
    assert.equal(
      refusal(() => verifySignedPolicy(note(text, anna), [anna!.vkey], 1)),
      'POLICY_INVALID',
      text,
    );
});

test('a member that stands twice is refused, wherever it stands and however it is written', () => {
  for (const text of [
    '{"version":1,"codeHashes":[],"codeHashes":[]}',
    '{"version":1,"codeHashes":[],"code\\u0048ashes":[]}',
    '{"version":1,"gpu":{"count":1,"count":8}}',
    '{"version":1,"keyProviders":[{"name":"kms","id":"a:{","id":""}]}',
  ])
    assert.throws(
      () => parsePolicyText(text),
      (error) => error instanceof ConfigurationError && /twice/.test(error.message),
    );
  const providers = '[{"name":"a\\":\\"","id":"}{[]:"},{"name":"","id":""}]'; // names repeat in different objects, and in text
  assert.equal(parsePolicyText(`{"version":1,"keyProviders":${providers}}`).keyProviders?.length, 2);
});
