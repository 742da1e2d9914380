/** Agents that nobody would want, on real unix sockets. */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type GuestAgent, openGuestAgent } from '../../src/tee/agent-client.ts';

/** Gone with the test. */
export function scratch(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'abaton-agent-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** Ends with the test, and its connections with it. */
export async function listen(t: TestContext, server: Server, socket: string): Promise<void> {
  const open = new Set<Socket>();
  server.on('connection', (connection: Socket) => {
    open.add(connection.on('close', () => open.delete(connection)).on('error', () => {}));
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  t.after(() => {
    server.close();
    for (const connection of open) connection.destroy();
  });
}

const connect = async (t: TestContext, server: Server, timeoutMs: number): Promise<GuestAgent> => {
  const socket = join(scratch(t), 'dstack.sock');
  await listen(t, server, socket);
  return openGuestAgent(socket, { timeoutMs });
};

/** Answers whatever it is asked as `answer` does. */
export const httpAgent = (t: TestContext, answer: RequestListener, timeoutMs = 5_000): Promise<GuestAgent> =>
  connect(t, createHttpServer(answer), timeoutMs);

/** Speaks bytes: `speak` gets the connection once a request has begun to arrive. */
export const rawAgent = (t: TestContext, speak: (to: Socket) => void, timeoutMs = 5_000): Promise<GuestAgent> =>
  connect(
    t,
    createServer((connection) => connection.once('data', () => speak(connection))),
    timeoutMs,
  );

/** Answers each path with JSON; others with 404. */
export const jsonAgent = (t: TestContext, answers: Record<string, unknown>): Promise<GuestAgent> =>
  httpAgent(t, (request, response) => {
    const known = Object.hasOwn(answers, request.url ?? '');
    response.writeHead(known ? 200 : 404, { 'content-type': 'application/json' });
    response.end(JSON.stringify(known ? answers[request.url ?? ''] : { error: 'Service not found' }));
  });

/** For assert.rejects: AGENT_UNAVAILABLE with such a message. */
export const unavailable = (message: RegExp) => ({ name: 'UnavailableError', code: 'AGENT_UNAVAILABLE', message });
