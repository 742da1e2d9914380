/**
 * `npm run interop`: checks against software from other registries (Go, Python, Rust, Java). Not part of `npm test`: it
 * installs into a scratch folder outside the tree, and writes what it found to docs/interop.md.
 */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface InteropResult {
  name: string;
  ok: boolean;
  /** They differ, and the reason is in `detail`. */
  known?: boolean;
  detail: string;
}

const folder = fileURLToPath(new URL('./interop', import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), 'abaton-interop-'));
const results: InteropResult[] = [];
try {
  for (const file of readdirSync(folder).filter((name) => name.endsWith('.ts'))) {
    const { run } = (await import(join(folder, file))) as { run: (scratchDir: string) => Promise<InteropResult[]> };
    for (const result of await run(scratch)) {
      results.push(result);
      console.log(`${result.ok ? '✓' : '✗'} ${result.name}: ${result.detail}`);
    }
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
const rows = results.map(({ name, ok, known, detail }) => {
  const result = known ? 'stricter here' : ok ? 'agrees' : '**disagrees**';
  return `| ${name} | ${result} | ${detail} |`;
});
writeFileSync(
  fileURLToPath(new URL('../docs/interop.md', import.meta.url)),
  `<!-- Written by \`npm run interop\`. -->\n# Interoperability with software that nobody here wrote\n\nLast run: ${new Date().toISOString().slice(0, 10)}\n\n| check | result | detail |\n| --- | --- | --- |\n${rows.join('\n')}\n`,
);
process.exit(results.every(({ ok }) => ok) ? 0 : 1);
