/** A plain HTTP client over TLS for tests, HTTP/1.1 and HTTP/2: the server's own client is not what is tested here. */
import { once } from 'node:events';
import http2 from 'node:http2';
import https from 'node:https';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

export interface Ask {
  method?: string;
  path: string;
  headers?: Record<string, string>;
  body?: Uint8Array | AsyncIterable<Uint8Array>;
  version?: 1 | 2;
}

export interface Answer {
  status: number;
  headers: Record<string, string>;
  body: Buffer;
}

export const ask = (port: number, request: Ask): Promise<Answer> =>
  request.version === 2 ? askHttp2(port, request) : askHttp1(port, request);

const sourceOf = (body: Ask['body']): Readable =>
  Readable.from(body === undefined ? [] : body instanceof Uint8Array ? [body] : body, { objectMode: false });

async function askHttp1(port: number, { method = 'GET', path, headers = {}, body }: Ask): Promise<Answer> {
  const options = { host: '127.0.0.1', port, path, method, headers, rejectUnauthorized: false, agent: false };
  const request = https.request(options);
  const answered = once(request, 'response');
  // The server may answer before it has taken everything.
  const sent = body === undefined ? Promise.resolve(request.end()) : pipeline(sourceOf(body), request).catch(() => {});
  const [response] = (await answered) as [import('node:http').IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk);
  request.destroy();
  await sent;
  return {
    status: response.statusCode!,
    headers: response.headers as Record<string, string>,
    body: Buffer.concat(chunks),
  };
}

async function askHttp2(port: number, { method = 'GET', path, headers = {}, body }: Ask): Promise<Answer> {
  const session = http2.connect(`https://127.0.0.1:${port}`, { rejectUnauthorized: false });
  session.on('error', () => {});
  try {
    const stream = session.request({ ':method': method, ':path': path, ...headers }, { endStream: body === undefined });
    const answered = once(stream, 'response');
    const sent = body === undefined ? Promise.resolve() : pipeline(sourceOf(body), stream).catch(() => {});
    const [response] = (await answered) as [Record<string, string | number>];
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(chunk);
    await sent;
    const { ':status': status, ...rest } = response;
    return { status: Number(status), headers: rest as Record<string, string>, body: Buffer.concat(chunks) };
  } finally {
    session.destroy();
  }
}

/** Sends the header, and the body only after 100 Continue (RFC 9110 section 10.1.1). */
export function expectContinue(port: number, path: string, headers: Record<string, string>, body: Buffer) {
  return new Promise<{ continued: boolean; status: number }>((resolve, reject) => {
    const request = https.request({
      host: '127.0.0.1',
      port,
      path,
      method: 'POST',
      headers: { ...headers, expect: '100-continue', 'content-length': body.length },
      rejectUnauthorized: false,
      agent: false,
    });
    let continued = false;
    request.on('continue', () => {
      continued = true;
      request.end(body);
    });
    request.on('response', (response) => {
      resolve({ continued, status: response.statusCode! });
      response.resume();
      request.destroy();
    });
    request.on('error', reject);
    request.flushHeaders();
  });
}

/** A multipart/related body of these files, and the Content-Type that names its boundary. */
export function multipart(files: readonly Uint8Array[], partType = 'application/dicom') {
  const boundary = 'test-boundary-0123456789';
  const parts = files.flatMap((file) => [
    Buffer.from(`--${boundary}\r\nContent-Type: ${partType}\r\n\r\n`),
    file,
    Buffer.from('\r\n'),
  ]);
  return {
    body: Buffer.concat([...parts, Buffer.from(`--${boundary}--\r\n`)]),
    headers: { 'content-type': `multipart/related; type="application/dicom"; boundary=${boundary}` },
  };
}
