// Installs exactly the lock file, once per change of it, with no install script run. Any Node >= 20 can run this.
// `--production` installs what `npm start` needs; without it, the tools that tests need come too.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const production = process.argv.includes('--production');
const stampFile = join(root, 'node_modules', '.abaton-installed');
const lock = createHash('sha256')
  .update(readFileSync(join(root, 'package-lock.json')))
  .digest('hex');
const stamp = existsSync(stampFile) ? readFileSync(stampFile, 'utf8') : '';

// An install of everything serves `npm start` too; a production install does not serve tests.
if (stamp !== `${lock} all` && !(production && stamp === `${lock} production`)) {
  console.error(
    `Installing the locked packages (${production ? 'production' : 'all'}); the first time takes about half a minute.`,
  );
  const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', ...(production ? ['--omit=dev'] : [])];
  const npm = process.env.npm_execpath ? [process.execPath, process.env.npm_execpath] : ['npm'];
  const result = spawnSync(npm[0], [...npm.slice(1), ...args], { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] });
  if (result.status !== 0) {
    console.error('npm ci failed. Check the connection to your npm registry, then run the command again.');
    process.exit(1);
  }
  writeFileSync(stampFile, `${lock} ${production ? 'production' : 'all'}`);
}

const bundled = existsSync(join(root, 'node_modules', '.bin', process.platform === 'win32' ? 'node.cmd' : 'node'));
if (!bundled && Number(process.versions.node.split('.')[0]) < 24) {
  console.error(
    `Abaton needs Node 24. This is Node ${process.versions.node}, and no bundled Node 24 exists for ${process.platform}-${process.arch}: install Node 24 and run the command again.`,
  );
  process.exit(1);
}
