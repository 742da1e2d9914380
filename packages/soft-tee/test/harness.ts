/** A software TEE in a folder of its own, and a plain client for its sockets. */
import { mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { Collateral } from '@phala/dcap-qvl';
import { type SoftTee, type SoftTeeOptions, startSoftTee } from '../src/index.ts';

/** Pretty-printed and unsorted on purpose: whoever re-serialises it gets another hash. */
export const COMPOSE = `{\n  "name": "abaton",\n  "manifest_version": 2,\n  "docker_compose_file": "services: {}"\n}\n`;

/** CommonJS, so loaded as such. */
export const qvl: typeof import('@phala/dcap-qvl') = createRequire(import.meta.url)('@phala/dcap-qvl');

/** Gone with the test. */
export async function scratch(t: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'soft-tee-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

export async function start(t: TestContext, options: Partial<SoftTeeOptions> = {}): Promise<SoftTee> {
  const dir = await scratch(t);
  const tee = await startSoftTee({
    state: join(dir, 'state'),
    socket: join(dir, 'a.sock'),
    compose: COMPOSE,
    ...options,
  });
  t.after(() => tee.close());
  return tee;
}

export interface Reply {
  status: number;
  headers: NodeJS.Dict<string | string[]>;
  text: string;
}

/** One request over a unix socket; `body` null sends a GET. */
export function send(socketPath: string, path: string, body: string | Buffer | null): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const call = request(
      { socketPath, path, method: body === null ? 'GET' : 'POST', agent: false },
      async (response) => {
        response.setEncoding('latin1');
        let text = '';
        for await (const chunk of response) text += chunk;
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text });
      },
    );
    call.on('error', reject);
    call.end(body ?? undefined);
  });
}

/** Calls an agent method; throws what the agent refuses. */
export async function call<T = Record<string, string>>(tee: SoftTee, method: string, args: object = {}): Promise<T> {
  const { status, text } = await send(tee.socket, `/${method}`, JSON.stringify(args));
  const body = JSON.parse(text);
  if (status !== 200) throw new Error(`${status} ${body.error}`);
  return body;
}

export const getQuote = async (tee: SoftTee, reportData = '00'): Promise<Buffer> =>
  Buffer.from((await call(tee, 'GetQuote', { report_data: reportData })).quote!, 'hex');

/** As the library's own client fetches it. */
export const collateralOf = (tee: SoftTee, quote: Buffer): Promise<Collateral> => qvl.getCollateral(tee.pccsUrl, quote);

/** 10 runs, or 1000 under SLOW=1; fast-check prints the seed of a failure. */
export const RUNS = { numRuns: process.env.SLOW === '1' ? 1000 : 10 };
