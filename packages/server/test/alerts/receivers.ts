/**
 * Where alerts arrive in tests: a real HTTPS webhook and a real SMTP server (RFC 5321, as little as a sender needs).
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer as createHttps } from 'node:https';
import { type AddressInfo, createServer as createTcp, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { createServer as createTls } from 'node:tls';
import { startSoftTee } from '@abaton/soft-tee';
import { openGuestAgent } from '../../src/tee/agent-client.ts';

export interface TlsIdentity {
  key: string;
  cert: string;
  /** Of an authority that nobody else trusts. */
  ca: string;
}

/** For `localhost`, from the authority of a software TEE made for this. */
export async function createIdentity(): Promise<TlsIdentity> {
  const dir = mkdtempSync(join(tmpdir(), 'abaton-alerts-'));
  const socket = join(dir, 'agent.sock');
  const tee = await startSoftTee({ state: join(dir, 'tee'), socket, compose: '{"name":"alerts"}' });
  const { keyPem, chainPem } = await openGuestAgent(socket).getTlsKey({
    subject: 'localhost',
    altNames: ['localhost'],
  });
  await tee.close();
  rmSync(dir, { recursive: true });
  return { key: keyPem, cert: chainPem.join('\n'), ca: chainPem.at(-1)! };
}

export interface Receiver {
  /** What a manifest says, or where mail is handed in. */
  url: string;
  /** Bodies that were taken. */
  taken: string[];
  /** Tries so far. */
  tries(): number;
  close(): Promise<void>;
}

const listen = async (server: Server): Promise<number> => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
};

/** `answer(n)`: status for the n-th try, from 1; null: never any. */
export async function startWebhook(
  identity: TlsIdentity,
  answer: (n: number) => number | null = () => 204,
): Promise<Receiver> {
  const taken: string[] = [];
  let tries = 0;
  const server = createHttps(identity, async (request, response) => {
    const status = answer(++tries);
    let body = '';
    for await (const chunk of request) body += chunk;
    if (status === null) return;
    if (status < 300) taken.push(body);
    response.writeHead(status, status >= 300 && status < 400 ? { location: '/elsewhere' } : {}).end('x'.repeat(1000));
  });
  const port = await listen(server);
  return {
    url: `https://localhost:${port}/hook`,
    taken,
    tries: () => tries,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** `answer(n)`: reply to the n-th message. With `tls` false it speaks in clear, and knows no STARTTLS. */
export async function startSmtp(
  identity: TlsIdentity,
  { tls = true, answer = (_: number): string => '250 taken' } = {},
): Promise<Receiver> {
  const taken: string[] = [];
  const sockets = new Set<Socket>();
  let tries = 0;
  const serve = (socket: Socket): void => {
    sockets.add(socket);
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
    const say = (line: string) => socket.write(`${line}\r\n`);
    let message: string[] | null = null;
    say('220 test');
    createInterface({ input: socket })
      .on('error', () => {})
      .on('line', (line) => {
        if (message && line !== '.') return void message.push(line);
        if (message) {
          const reply = answer(++tries);
          if (reply.startsWith('250')) taken.push(message.join('\n'));
          message = null;
          return void say(reply);
        }
        const verb = line.slice(0, 4).toUpperCase();
        if (verb === 'DATA') message = [];
        say(verb === 'DATA' ? '354 go on' : verb === 'QUIT' ? '221 bye' : '250 fine');
      });
  };
  const server = tls ? createTls(identity, serve) : createTcp(serve);
  const port = await listen(server);
  return {
    url: `${tls ? 'smtps' : 'smtp'}://localhost:${port}`,
    taken,
    tries: () => tries,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}
