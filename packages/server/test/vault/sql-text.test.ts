// The rules of docs/decisions/0004-rows.md: one SQL text for SQLite and PostgreSQL.
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { MIGRATIONS } from '../../src/vault/migrations.ts';
import { work } from './crash-child.ts';
import { testState } from './support.ts';

const SOURCE = fileURLToPath(new URL('../../src', import.meta.url));
/** Comments, so that a quote in one begins no string, and the three kinds of literals. */
const TOKEN = /\/\*[\s\S]*?\*\/|\/\/.*|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`/g;
const STATEMENT = /^(select|insert into|update|delete from|create|alter|drop|with)\s/;

/** Every literal of the sources that begins like a statement. */
const statements = globSync('**/*.ts', { cwd: SOURCE })
  .flatMap((file) => readFileSync(`${SOURCE}/${file}`, 'utf8').match(TOKEN) ?? [])
  .filter((token) => !token.startsWith('/'))
  .map((token) => token.slice(1, -1))
  .filter((text) => STATEMENT.test(text));

/** What one of the two engines does not know, or does differently. */
const FORBIDDEN: Record<string, RegExp> = {
  'types other than bigint, integer, text, bytea':
    /\b(serial|bigserial|jsonb?|boolean|timestamp\w*|date|real|double|numeric|blob|varchar|char|int|uuid|any)\b/,
  'keys and times made by the engine': /\b(autoincrement|generated|default|now|current_\w+|random|datetime|strftime)\b/,
  'one dialect': /\b(or (replace|ignore)|replace into|ifnull|glob|rowid|strict|ilike|array|distinct on|skip locked)\b/,
  'parameters other than $1': /[?]|[:@]\w/,
  'casts and operators of one engine': /::|->|~|\|\|/,
  'text put together from parts': /\$\{/,
};

test('the statements that run are those that are checked', async (t) => {
  const prepare = t.mock.method(DatabaseSync.prototype, 'prepare');
  const state = await testState(t);
  await work(state, 1, () => undefined);
  await state.sealedState.put(state.db, 'x', new Uint8Array());
  const ran = prepare.mock.calls.map((call) => call.arguments[0]).filter((text) => STATEMENT.test(text));
  assert.ok(ran.length > 30, `${ran.length} statements ran`);
  for (const text of ran) assert.ok(statements.includes(text), text);
});

test('every statement keeps to what both engines do alike', () => {
  for (const text of statements)
    for (const [rule, pattern] of Object.entries(FORBIDDEN)) assert.doesNotMatch(text, pattern, `${rule}: ${text}`);
});

test('parameters are numbered from $1 without gaps', () => {
  for (const text of statements) {
    const used = new Set([...text.matchAll(/\$(\d+)/g)].map((match) => Number(match[1])));
    assert.deepEqual(
      [...used].sort((a, b) => a - b),
      Array.from({ length: used.size }, (_, i) => i + 1),
      text,
    );
  }
});

test('every column has one of the four types', () => {
  for (const statement of MIGRATIONS.flat().filter((text) => text.startsWith('create table')))
    for (const column of statement.slice(statement.indexOf('(') + 1, statement.lastIndexOf(')')).split(','))
      assert.match(column.trim(), /^\w+ (bigint|integer|text|bytea)( primary key)?( not null)?$/);
});
