/** A PostgreSQL server of Debian's, with fsync on, in a scratch directory: one per test file, one database per test. */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import pg from 'pg';

/** Debian's postgresql-15 does not put these into PATH. */
const BIN = '/usr/lib/postgresql/15/bin';

/** Why these tests are skipped, or false. */
export const skipPostgres = existsSync(join(BIN, 'postgres')) ? false : 'needs postgresql-15: scripts/system-deps.sh';
if (skipPostgres && process.env.REQUIRE_SYSTEM === '1') throw new Error(skipPostgres);

export interface PostgresServer {
  /** Of the database that always exists. */
  url: string;
  newDatabase(): Promise<string>;
  /** `immediate` is a crash: nothing is flushed, the next start recovers from the log. */
  stop(mode: 'fast' | 'immediate'): void;
  start(): void;
  /** Changes a setting for sessions to come. */
  set(name: string, value: string): Promise<void>;
}

/** PostgreSQL refuses to run as root. */
function run(command: string, ...args: string[]): string {
  const program = join(BIN, command);
  const isRoot = process.getuid?.() === 0;
  const [file, argv] = isRoot
    ? ['setpriv', ['--reuid=postgres', '--regid=postgres', '--clear-groups', program, ...args]]
    : [program, args];
  return execFileSync(file, argv, { cwd: '/', encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

const freePort = () =>
  new Promise<number>((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });

/** Starts one. It ends with the tests of the file, or by `close`. */
export async function startPostgres({ settings = {} as Record<string, string> } = {}): Promise<PostgresServer> {
  const dir = mkdtempSync(join(tmpdir(), 'abaton-postgres-'));
  const data = join(dir, 'data');
  mkdirSync(data);
  if (process.getuid?.() === 0) spawnSync('chown', ['-R', 'postgres:', dir]);
  run('initdb', '-D', data, '-U', 'abaton', '--auth=trust', '-E', 'UTF8', '--no-locale', '--no-sync');
  const port = await freePort();
  const options = [`-p ${port}`, "-h 127.0.0.1 -k ''", '-c shared_buffers=16MB'];
  for (const [name, value] of Object.entries(settings)) options.push(`-c ${name}=${value}`);
  const start = () => {
    run('pg_ctl', '-D', data, '-w', '-s', '-l', join(data, 'server.log'), '-o', options.join(' '), 'start');
  };
  const stop = (mode: 'fast' | 'immediate') => {
    run('pg_ctl', '-D', data, '-w', '-s', '-m', mode, 'stop');
  };
  start();
  after(() => {
    if (existsSync(join(data, 'postmaster.pid'))) stop('immediate');
    rmSync(dir, { recursive: true, force: true });
  });
  const urlOf = (database: string) => `postgres://abaton@127.0.0.1:${port}/${database}`;
  const asAdmin = async (sql: string) => {
    const client = new pg.Client(urlOf('postgres'));
    await client.connect();
    return (await client.query(sql).finally(() => client.end())).rows as Record<string, string>[];
  };
  let databases = 0;
  return {
    url: urlOf('postgres'),
    async newDatabase() {
      const name = `test${databases++}`;
      await asAdmin(`create database ${name}`);
      return urlOf(name);
    },
    start,
    stop,
    async set(name, value) {
      await asAdmin(`alter system set ${name} = ${value}`);
      await asAdmin('select pg_reload_conf()');
      while ((await asAdmin(`show ${name}`))[0]?.[name] !== value); // the server reads it in its own time
    },
  };
}
