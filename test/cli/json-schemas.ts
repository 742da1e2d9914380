/** The schemas of docs/reference, for checking what the command prints. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Compile } from 'typebox/schema';
import { root } from '../e2e/stack.ts';

const read = (name: string): Record<string, unknown> =>
  JSON.parse(readFileSync(join(root, `docs/reference/${name}.schema.json`), 'utf8'));

const verdict = read('verdict');
const validators = {
  verdict: Compile(verdict),
  analyze: Compile({ [String(verdict.$id)]: verdict }, read('analyze')),
};

/** Empty when the value follows the schema. */
export function errorsOf(schema: keyof typeof validators, value: unknown): unknown[] {
  if (validators[schema].Check(value)) return [];
  return validators[schema].Errors(value)[1];
}
