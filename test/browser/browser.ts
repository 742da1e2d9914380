/**
 * Runs functions in Chromium and in Node. A loopback server hands out one page, which asks it for work; nothing but the
 * browser's own web platform stands between. The page has a strict policy: no eval, no inline script, no other host.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { bundle } from './bundle.ts';
import { call, type Input, type Name, type Result } from './functions.ts';
import { decode, encode, type Outcome } from './wire.ts';

const chromium = process.env.CHROMIUM ?? '/usr/bin/chromium';
const installed = existsSync(chromium);
if (!installed && process.env.REQUIRE_SYSTEM === '1')
  throw new Error('needs chromium: run scripts/system-deps.sh, or set CHROMIUM');
export const skip = installed ? false : 'needs chromium: run scripts/system-deps.sh, or set CHROMIUM';

export const START_MS = 60_000; // guards against hanging, on a machine that is busy with other tests
export const CALL_MS = 60_000;
const STOP_MS = 10_000;
const LOG_CHARS = 2000;

const POLICY =
  "default-src 'none'; script-src 'self'; connect-src 'self'; require-trusted-types-for 'script'; trusted-types 'none'";
const PAGE = '<!doctype html><title>test</title><script type="module" src="/page.js"></script>';

// As a user of a desktop would have it, but for what has no meaning in a test; --no-sandbox is for root alone.
const ARGUMENTS = [
  ...['--headless', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'],
  ...['--disable-component-update', '--disable-sync', '--enable-logging=stderr'],
  '--remote-debugging-pipe', // never used: Chromium stops by itself when its pipe breaks, however this process ends
  ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
];

export interface Browser {
  /** Runs a function of functions.ts in the page. Rejects when it fails otherwise than by refusing, or after a minute. */
  call<N extends Name>(name: N, input: Input<N>): Promise<Result<N>>;
  close(): Promise<void>;
}

export interface Chromium {
  /** Rejects when Chromium ends, or after that time. */
  within<T>(promise: Promise<T>, ms: number): Promise<T>;
  stop(): Promise<void>;
}

/** A Chromium with a fresh profile, on its way to that page. */
export function launchChromium(url: string, more: readonly string[] = []): Chromium {
  const scratch = mkdtempSync(join(tmpdir(), 'abaton-browser-'));
  const child = spawn(chromium, [...ARGUMENTS, ...more, `--user-data-dir=${scratch}/profile`, url], {
    stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'],
    env: { ...process.env, TMPDIR: scratch },
  });
  let log = '';
  child.stderr!.setEncoding('utf8').on('data', (chunk: string) => {
    log = (log + chunk).slice(-LOG_CHARS);
  });
  const gone = new Promise<never>((_, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => reject(new Error(`Chromium has ended (${code ?? signal}): ${log}`)));
  });
  gone.catch(() => {}); // it ends in stop() too
  return {
    within(promise, ms) {
      const late = Promise.withResolvers<never>();
      const timer = setTimeout(() => late.reject(new Error(`no answer of Chromium in ${ms} ms: ${log}`)), ms);
      return Promise.race([promise, gone, late.promise]).finally(() => clearTimeout(timer));
    },
    async stop() {
      await end(child);
      rmSync(scratch, { recursive: true, force: true, maxRetries: 10 }); // helpers of Chromium may still be writing
    },
  };
}

/** One page of a Chromium with a fresh profile. */
export async function startBrowser(): Promise<Browser> {
  const script = await bundle(new URL('page.ts', import.meta.url));
  let answered: (body: string) => void = () => {};
  let asked = Promise.withResolvers<ServerResponse>();
  const server = createServer(async (request, response) => {
    response.setHeader('content-security-policy', POLICY);
    if (request.method === 'POST' && request.url === '/next') {
      answered(await text(request));
      asked.resolve(response);
    } else if (request.url === '/page.js') response.setHeader('content-type', 'text/javascript').end(script);
    else if (request.url === '/') response.setHeader('content-type', 'text/html').end(PAGE);
    else response.writeHead(404).end();
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const { within, stop } = launchChromium(url);

  const close = async () => {
    server.close();
    server.closeAllConnections();
    await stop();
  };
  const ask = async (name: Name, input: unknown): Promise<Outcome<unknown>> => {
    const response = await within(asked.promise, CALL_MS);
    asked = Promise.withResolvers();
    const answer = new Promise<string>((resolve) => {
      answered = resolve;
    });
    response.end(encode({ name, input }));
    const outcome = decode(await within(answer, CALL_MS)) as Outcome<unknown> | { bug: string };
    if ('bug' in outcome) throw new Error(`${name} in Chromium: ${outcome.bug}`);
    return outcome;
  };
  try {
    await within(asked.promise, START_MS);
  } catch (error) {
    await close();
    throw error;
  }
  let last: Promise<unknown> = Promise.resolve();
  return {
    // One after the other: the page has one hand.
    call<N extends Name>(name: N, input: Input<N>) {
      const result = last.then(() => ask(name, input));
      last = result.catch(() => {});
      return result as Promise<Result<N>>;
    },
    close,
  };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
  child.kill('SIGTERM'); // it ends its own helpers then
  await once(child, 'exit');
  clearTimeout(timer);
}

/** In this process, from the same JSON. */
export const callInNode = <N extends Name>(name: N, input: Input<N>): Promise<Result<N>> =>
  call(name, decode(encode(input)) as Input<N>);

/** Runs it in both engines, holds that the outcomes are equal, and returns it. */
export async function callInBoth<N extends Name>(
  browser: Browser,
  name: N,
  input: Input<N>,
  what: string = name,
): Promise<Result<N>> {
  const [node, page] = await Promise.all([callInNode(name, input), browser.call(name, input)]);
  assert.deepEqual(page, decode(encode(node)), `${what}: Chromium and Node differ`);
  return node;
}
