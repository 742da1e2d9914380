/** A proxy that ends TLS, reads every request and answer whole, writes down what it read, and may change it. */
import { once } from 'node:events';
import { request as ask, createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import type { TlsKey } from '../../../server/src/tee/agent-client.ts';

export interface Reading {
  url: string;
  status: number;
  type: string;
  body: Buffer;
}

export interface ReadingProxy {
  url: string;
  /** All that it read, in clear: request lines, header fields, bodies, both ways. */
  read: Buffer[];
  /** Changes what goes on to the server. */
  bendRequest: ((url: string, body: Buffer) => Buffer) | null;
  /** Changes what goes back. */
  bendAnswer: ((answer: Reading) => Partial<Reading>) | null;
  close(): Promise<void>;
}

/** `unread`: a path of the test's own, which is passed on and not written down. */
export async function startReadingProxy(key: TlsKey, port: number, unread = ''): Promise<ReadingProxy> {
  const server = createServer({ key: key.keyPem, cert: key.chainPem.join('\n') }, async (incoming, outgoing) => {
    try {
      const { method = '', url = '', headers } = incoming;
      const body = await buffer(incoming);
      const note = (...parts: (string | Buffer)[]) => url !== unread && proxy.read.push(...parts.map(Buffer.from));
      note(`${method} ${url}\n${incoming.rawHeaders.join('\n')}\n`, body);
      const { 'transfer-encoding': _, 'content-length': __, ...kept } = headers; // those of what goes on
      const sent = ask({ host: '127.0.0.1', port, path: url, method, headers: kept, rejectUnauthorized: false });
      sent.end(proxy.bendRequest?.(url, body) ?? body);
      const [response] = (await once(sent, 'response')) as [import('node:http').IncomingMessage];
      const answer = await buffer(response);
      note(`${response.statusCode}\n${response.rawHeaders.join('\n')}\n`, answer);
      const type = response.headers['content-type'] ?? '';
      const plain = { url, status: response.statusCode!, type, body: answer };
      const bent = { ...plain, ...proxy.bendAnswer?.(plain) };
      outgoing.setHeader('content-security-policy', response.headers['content-security-policy'] ?? '');
      outgoing.writeHead(bent.status, { 'content-type': bent.type }).end(bent.body);
    } catch {
      outgoing.destroy(); // the server broke off
    }
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const proxy: ReadingProxy = {
    url: `https://localhost:${(server.address() as AddressInfo).port}`,
    read: [],
    bendRequest: null,
    bendAnswer: null,
    async close() {
      server.close();
      server.closeAllConnections();
    },
  };
  return proxy;
}

/** In which forms `canary` is among what was read. */
export function findCanary(read: readonly Buffer[], canary: string): string[] {
  const all = Buffer.concat(read);
  const utf8 = Buffer.from(canary);
  const forms: Record<string, Buffer> = {
    utf8,
    utf16: Buffer.from(canary, 'utf16le'),
    hex: Buffer.from(utf8.toString('hex')),
    // whichever of the three ways it falls among groups of three bytes
    ...Object.fromEntries(
      [0, 1, 2].map((skip) => [
        `base64+${skip}`,
        Buffer.from(utf8.subarray(skip, skip + 3 * Math.floor((utf8.length - skip) / 3)).toString('base64')),
      ]),
    ),
  };
  return Object.keys(forms).filter((form) => all.includes(forms[form]!));
}
