/**
 * `npm run release -- --dry-run`: what a release is made of, without publishing it. Checks that the tree is clean, that
 * every package has the version, that the changelog has its section; emits @abaton/verify and @abaton/client as
 * JavaScript with types (Node does not strip types inside node_modules), packs them for a look, and counts the SBOM.
 */
import { execFileSync } from 'node:child_process';
import { globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const dryRun = process.argv.includes('--dry-run');
if (process.argv.slice(2).some((arg) => arg !== '--dry-run')) {
  console.error('Usage: npm run release -- [--dry-run]');
  process.exit(1);
}
const readJson = (path: string) => JSON.parse(readFileSync(join(root, path), 'utf8'));
const run = (file: string, args: string[], cwd = root) =>
  execFileSync(file, args, { cwd, encoding: 'utf8', maxBuffer: 64 * 2 ** 20 });
const stop = (message: string): never => {
  console.error(message);
  process.exit(1);
};

/** As tsconfig.json, but writing JavaScript whose imports end in .js. */
const EMIT_FLAGS =
  '--ignoreConfig --target es2023 --module nodenext --lib esnext,dom,dom.iterable --types node --strict --declaration --rewriteRelativeImportExtensions --skipLibCheck'.split(
    ' ',
  );

const { version } = readJson('package.json') as { version: string };
for (const path of globSync('packages/*/package.json', { cwd: root })) {
  if (readJson(path).version !== version) stop(`${path} does not have version ${version}.`);
}
const heading = `## [${version}]`;
const released = readFileSync(join(root, 'CHANGELOG.md'), 'utf8').includes(heading);
if (!released && !dryRun) stop(`CHANGELOG.md has no section ${heading}.`);
const dirty = run('git', ['status', '--porcelain']).trim();
if (dirty && !dryRun) stop('The tree has uncommitted changes.');

const out = mkdtempSync(join(tmpdir(), 'abaton-release-'));
try {
  for (const name of ['verify', 'client']) {
    const folder = join(out, name);
    mkdirSync(folder);
    const sources = globSync(`packages/${name}/src/**/*.ts`, { cwd: root }).map((file) => join(root, file));
    const paths = ['--rootDir', join(root, `packages/${name}/src`), '--outDir', join(folder, 'dist')];
    run(join(root, 'node_modules/.bin/tsc'), [...EMIT_FLAGS, ...paths, ...sources]);
    const manifest = readJson(`packages/${name}/package.json`);
    delete manifest.devDependencies;
    manifest.exports = { types: './dist/index.d.ts', default: './dist/index.js' };
    manifest.files = ['dist'];
    writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest, null, 2));
    writeFileSync(join(folder, 'LICENSE'), readFileSync(join(root, 'LICENSE')));
    const [packed] = JSON.parse(run('npm', ['pack', '--json', '--dry-run'], folder)) as [
      { filename: string; size: number; integrity: string; entryCount: number },
    ];
    console.log(`${packed.filename}: ${packed.entryCount} files, ${packed.size} bytes, ${packed.integrity}`);
  }
  const sbom = JSON.parse(run('npm', ['sbom', '--sbom-format=cyclonedx', '--package-lock-only', '--omit=dev'])) as {
    components: unknown[];
  };
  console.log(`SBOM (CycloneDX): ${sbom.components.length} components`);
  console.log(
    `Version ${version}; changelog ${released ? 'has' : 'lacks'} its section; tree ${dirty ? 'has uncommitted changes' : 'clean'}.`,
  );
  console.log(dryRun ? 'Dry run: nothing was tagged or published.' : `Tag it: git tag -s v${version}`);
} finally {
  rmSync(out, { recursive: true, force: true });
}
