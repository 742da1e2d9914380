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
  /** What was found; why, of what was skipped. */
  detail: string;
  /** Why we refuse, or think less of, what others accept. Such results have a section of their own. */
  reason?: string;
  /** Something that this machine lacks. */
  skipped?: true;
}

const folder = fileURLToPath(new URL('./interop', import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), 'abaton-interop-'));
const results: InteropResult[] = [];
try {
  for (const file of readdirSync(folder).filter((name) => name.endsWith('.ts'))) {
    console.error(`- ${file}: building and asking`);
    const { run } = (await import(join(folder, file))) as { run: (scratchDir: string) => Promise<InteropResult[]> };
    for (const result of await run(scratch)) {
      results.push(result);
      const mark = result.skipped ? '-' : result.ok ? '✓' : '✗';
      console.log(`${mark} ${result.name}: ${[result.detail, result.reason].filter(Boolean).join(': ')}`);
    }
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}

const outcome = ({ ok, skipped }: InteropResult) => (skipped ? 'skipped' : ok ? 'agrees' : '**disagrees**');
const plain = results.filter(({ reason }) => !reason);
const stricter = results.filter(({ reason }) => reason);
const page = `<!-- Written by \`npm run interop\`. -->
# Interoperability with software that nobody here wrote

Last run: ${new Date().toISOString().slice(0, 10)}

| check | result | detail |
| --- | --- | --- |
${plain.map((result) => `| ${result.name} | ${outcome(result)} | ${result.detail} |\n`).join('')}
## Where we are stricter

Others accept these, or think better of them; each has the reason why we do not.

| check | who says what | reason |
| --- | --- | --- |
${stricter.map(({ name, detail, reason }) => `| ${name} | ${detail} | ${reason} |\n`).join('')}`;
writeFileSync(fileURLToPath(new URL('../docs/interop.md', import.meta.url)), page);
process.exit(results.every(({ ok }) => ok) ? 0 : 1);
