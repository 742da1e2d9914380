// The rendezvous between the writer of an object and the blob store.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { Handover } from '../../src/vault/handover.ts';

test('give resolves when the consumer asks for the next item, and not before', async () => {
  const handover = new Handover<number>();
  const iterator = handover[Symbol.asyncIterator]();
  const order: string[] = [];
  const given = handover.give(1).then(() => order.push('taken'));
  assert.deepEqual(await iterator.next(), { done: false, value: 1 });
  await setImmediate();
  order.push('asking');
  const next = iterator.next();
  await given;
  assert.deepEqual(order, ['asking', 'taken']);
  handover.end();
  assert.deepEqual(await next, { done: true, value: undefined });
});

test('an item that was given before the end is delivered; a failure comes at once', async () => {
  const ended = new Handover<number>();
  void ended.give(1);
  ended.end();
  const items: number[] = [];
  for await (const item of ended) items.push(item);
  assert.deepEqual(items, [1]);

  const failed = new Handover<number>();
  void failed.give(1);
  failed.fail(new Error('given up'));
  await assert.rejects(failed[Symbol.asyncIterator]().next(), /given up/);
});

test('a failure reaches a consumer that still works on the item before', async () => {
  const handover = new Handover<number>();
  const iterator = handover[Symbol.asyncIterator]();
  void handover.give(1);
  await iterator.next();
  handover.fail(new Error('given up'));
  await assert.rejects(iterator.next(), /given up/);
});

test('a second item before the first is taken is refused', async () => {
  const handover = new Handover<number>();
  void handover.give(1);
  await assert.rejects(handover.give(2), /not taken yet/);
});
