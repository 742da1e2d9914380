/**
 * `npm run bench -- NAME [--json]`: measures one path against a peer in the same run, and prints the ratio. `--json`
 * prints one object { ratio, p50Ms, p99Ms, perSecond, … } and nothing else.
 */
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export type Figures = Record<string, number | string | boolean>;

const folder = fileURLToPath(new URL('.', import.meta.url));
const names = readdirSync(folder)
  .filter((file) => file.endsWith('.bench.ts'))
  .map((file) => file.slice(0, -'.bench.ts'.length));
const [name] = process.argv.slice(2).filter((arg) => !arg.startsWith('--'));

if (!name || !names.includes(name)) {
  console.error(`Usage: npm run bench -- NAME [--json], where NAME is one of: ${names.join(', ')}`);
  process.exit(1);
}
const { run } = (await import(`./${name}.bench.ts`)) as { run: () => Promise<Figures> };
const figures = await run();
if (process.argv.includes('--json')) console.log(JSON.stringify(figures));
else
  for (const [key, value] of Object.entries(figures))
    console.log(`${key.padEnd(24)} ${typeof value === 'number' ? Number(value.toPrecision(4)) : value}`);
