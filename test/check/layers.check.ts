/** The import table of ARCHITECTURE.md, held: every import line of every source file is allowed by its row. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Rows of the table under "Who may import what": room → what its files may import, as names or prefixes ending in `*`. */
function readTable(): Map<string, string[]> {
  const text =
    readFileSync(join(root, 'ARCHITECTURE.md'), 'utf8').split('## Who may import what')[1]?.split('\n## ')[0] ?? '';
  const rows = [...text.matchAll(/^\| `([^`]+)` \| (.+?) \|/gm)];
  return new Map(rows.map(([, room, cells]) => [room!, [...cells!.matchAll(/`([^`]+)`/g)].map(([, name]) => name!)]));
}

/** Files that pick drivers and wire rooms: each package's `main.ts`, and what the server's opens its stores and its proof with. */
const COMPOSITION = ['main.ts', 'open-state.ts', 'open-attestation.ts'];

/** `packages/server/src/http/app.ts` → `server/http`; a file at the top of a package → `server`; compositions have their own row. */
function roomOf(path: string): string {
  const [, pkg, , ...rest] = path.split('/');
  if (rest.length === 1 && COMPOSITION.includes(rest[0]!)) return `${pkg}/main.ts`;
  return rest.length > 1 && pkg === 'server' ? `${pkg}/${rest[0]}` : pkg!;
}

function importsOf(path: string): string[] {
  const source = readFileSync(join(root, path), 'utf8');
  const found = [
    ...source.matchAll(/^\s*(?:import|export)\s(?:[^'";]*?\sfrom\s)?['"]([^'"]+)['"]/gm),
    ...source.matchAll(/\bimport\(\s*['"]([^'"]+)['"]/g),
  ];
  return found.map(([, name]) =>
    name!.startsWith('.') ? roomOf(relative(root, join(root, dirname(path), name!))) : name!,
  );
}

/** `node:*` covers by prefix; a package covers its subpaths; a room covers itself alone. */
function covers(name: string, target: string): boolean {
  if (name.endsWith('*')) return target.startsWith(name.slice(0, -1));
  const isRoom = name.startsWith('server') || name.startsWith('cli') || name.startsWith('soft-tee');
  return target === name || (!isRoom && target.startsWith(`${name}/`));
}

const table = readTable();
const files = globSync('packages/*/src/**/*.{ts,tsx}', { cwd: root }).sort();

test('the table and the source tree are found: an empty check would be a false green', () => {
  assert.ok(table.size >= 8, 'ARCHITECTURE.md has its table');
  assert.ok(files.length > 50, `${files.length} source files`);
});

test('every import is allowed by the table of ARCHITECTURE.md', () => {
  const broken: string[] = [];
  for (const file of files) {
    const room = roomOf(file);
    const allowed = table.get(room);
    if (!allowed) broken.push(`${file}: room \`${room}\` has no row`);
    for (const target of importsOf(file)) {
      const ok = target === room || allowed?.some((name) => covers(name, target));
      if (!ok) broken.push(`${file} imports ${target}`);
    }
  }
  assert.deepEqual(broken, []);
});

test('only compositions pick drivers', () => {
  const drivers = /(sqlite|postgres|directory-blobs|s3-blobs|pg-boss)[^/]*\.ts$/;
  const broken = files
    .filter((file) => !COMPOSITION.includes(basename(file)) && !drivers.test(file))
    .flatMap((file) => {
      const source = readFileSync(join(root, file), 'utf8');
      return [...source.matchAll(/from\s+'(\.[^']+)'/g)]
        .filter(([, name]) => drivers.test(name!))
        .map(([, name]) => `${file} imports ${name}`);
    });
  assert.deepEqual(broken, []);
});
