/**
 * Chromium by its own remote protocol, over a pipe (https://chromedevtools.github.io/devtools-protocol/): a page as a person
 * has it, of a server with a certificate that no authority has signed. Only that server's key is trusted, so that all
 * other rules of the browser stay as they are for its users.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const ANSWER_MS = 60_000; // guards against hanging, on a machine that is busy with other tests
const STOP_MS = 10_000;

const ARGUMENTS = [
  ...['--headless', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'],
  ...['--disable-component-update', '--disable-sync', '--remote-debugging-pipe', '--hide-scrollbars'],
  ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
];

type Params = Record<string, unknown>;

export interface Page {
  /** What the page has complained of: console errors and warnings, uncaught exceptions, refused loads and policy violations. */
  readonly complaints: string[];
  /** Goes there and waits for the load event. */
  open(url: string): Promise<void>;
  /** The value of an expression, once it is neither false, null nor undefined. Rejects after a minute. */
  eventually<T>(expression: string): Promise<T>;
  /** The value of an expression. */
  evaluate<T>(expression: string): Promise<T>;
  /** `scheme`: what the visitor's system prefers. */
  setView(view: { width: number; height: number; scheme: 'light' | 'dark' }): Promise<void>;
  /** The whole page as PNG. */
  screenshot(file: string): Promise<void>;
}

/** A page in a Chromium with a fresh profile. `certificatePem`: of the one server that it shall trust. */
export async function startPage(certificatePem: string): Promise<{ page: Page; close(): Promise<void> }> {
  const spki = new X509Certificate(certificatePem).publicKey.export({ type: 'spki', format: 'der' });
  const pin = createHash('sha256').update(spki).digest('base64');
  const scratch = mkdtempSync(join(tmpdir(), 'abaton-page-'));
  const child = spawn(
    CHROMIUM,
    [...ARGUMENTS, `--ignore-certificate-errors-spki-list=${pin}`, `--user-data-dir=${scratch}/profile`, 'about:blank'],
    { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'], env: { ...process.env, TMPDIR: scratch } },
  );
  const send = connect(child);
  const close = async () => {
    await stop(child);
    rmSync(scratch, { recursive: true, force: true, maxRetries: 10 }); // helpers of Chromium may still be writing
  };
  try {
    return { page: await attach(send), close };
  } catch (error) {
    await close();
    throw error;
  }
}

interface Connection {
  call<T>(method: string, params?: Params, sessionId?: string): Promise<T>;
  on(listen: (method: string, params: Params) => void): void;
}

/** Messages are JSON, each with a zero byte behind it. */
function connect(child: ChildProcess): Connection {
  const [input, output] = [child.stdio[3] as Writable, child.stdio[4] as Readable];
  const waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  const listeners: ((method: string, params: Params) => void)[] = [];
  let rest = '';
  output.setEncoding('utf8').on('data', (chunk: string) => {
    const messages = (rest + chunk).split('\0');
    rest = messages.pop()!;
    for (const text of messages) {
      const { id, error, result, method, params } = JSON.parse(text);
      if (id === undefined) for (const listen of listeners) listen(method, params);
      else if (error) waiting.get(id)?.reject(new Error(error.message));
      else waiting.get(id)?.resolve(result);
      waiting.delete(id);
    }
  });
  child.once('exit', () => {
    for (const { reject } of waiting.values()) reject(new Error('Chromium has ended'));
  });
  input.on('error', () => {}); // `exit` says it
  let last = 0;
  return {
    on: (listen) => listeners.push(listen),
    call<T>(method: string, params: Params = {}, sessionId?: string) {
      const id = ++last;
      const { promise, resolve, reject } = Promise.withResolvers<unknown>();
      waiting.set(id, { resolve, reject });
      const timer = setTimeout(() => reject(new Error(`no answer to ${method} in ${ANSWER_MS} ms`)), ANSWER_MS);
      input.write(`${JSON.stringify({ id, method, params, ...(sessionId && { sessionId }) })}\0`);
      return promise.finally(() => clearTimeout(timer)) as Promise<T>;
    },
  };
}

async function attach({ call, on }: Connection): Promise<Page> {
  const { targetId } = await call<{ targetId: string }>('Target.createTarget', { url: 'about:blank' });
  const { sessionId } = await call<{ sessionId: string }>('Target.attachToTarget', { targetId, flatten: true });
  const ask = <T>(method: string, params?: Params) => call<T>(method, params, sessionId);
  const complaints: string[] = [];
  let loaded = Promise.withResolvers<void>();
  on((method, params) => {
    if (method === 'Page.loadEventFired') loaded.resolve();
    const quiet =
      method === 'Runtime.consoleAPICalled' && !['error', 'warning', 'assert'].includes(String(params.type));
    if (/^(Runtime.(exceptionThrown|consoleAPICalled)|Log.entryAdded|Audits.issueAdded)$/.test(method) && !quiet)
      complaints.push(JSON.stringify(params));
  });
  for (const domain of ['Page', 'Runtime', 'Log', 'Audits']) await ask(`${domain}.enable`);

  const evaluate = async <T>(expression: string): Promise<T> => {
    const { result, exceptionDetails } = await ask<{ result: { value: T }; exceptionDetails?: unknown }>(
      'Runtime.evaluate',
      { expression, returnByValue: true, awaitPromise: true, userGesture: true },
    );
    if (exceptionDetails) throw new Error(`${expression}: ${JSON.stringify(exceptionDetails)}`);
    return result.value;
  };
  return {
    complaints,
    evaluate,
    async open(url) {
      loaded = Promise.withResolvers();
      const { errorText } = await ask<{ errorText?: string }>('Page.navigate', { url });
      if (errorText) throw new Error(`${url}: ${errorText}`);
      await loaded.promise;
    },
    async eventually<T>(expression: string) {
      for (const endMs = performance.now() + ANSWER_MS; performance.now() < endMs; ) {
        const value = await evaluate<T | null | undefined | false>(expression);
        if (value !== null && value !== undefined && value !== false) return value;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      throw new Error(`never: ${expression}`);
    },
    async setView({ width, height, scheme }) {
      await ask('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: width < 600 });
      await ask('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: scheme }] });
    },
    async screenshot(file) {
      const { data } = await ask<{ data: string }>('Page.captureScreenshot', { captureBeyondViewport: true });
      writeFileSync(file, Buffer.from(data, 'base64'));
    },
  };
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
  child.kill('SIGTERM'); // it ends its own helpers then
  await once(child, 'exit');
  clearTimeout(timer);
}
