/** The page: asks what to run, runs it, brings the outcome with the next question. */
import { call, type Input, type Name } from './functions.ts';
import { decode, encode } from './wire.ts';

async function answer(question: string): Promise<string> {
  const { name, input } = decode(question) as { name: Name; input: Input<Name> };
  try {
    return encode(await call(name, input));
  } catch (error) {
    return encode({ bug: error instanceof Error ? error.stack : String(error) });
  }
}

let body = '';
for (;;) {
  const response = await fetch('/next', { method: 'POST', body });
  body = await answer(await response.text());
}
