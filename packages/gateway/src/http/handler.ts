/** The LAN side, request by request: health, the queue, and what is forwarded. */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { errorOf } from '../codes.ts';
import type { Link } from '../link.ts';
import { type Logger, traceOf } from '../log.ts';
import type { Queue } from '../queue/queue.ts';
import { allowOf, requestHeaders, responseHeaders, verifyAllowed } from './allowed.ts';
import { answerError, answerJson, codeOf } from './answers.ts';
import { hasBody, readBody, settleBody, writeBody } from './body.ts';
import type { VerifyCaller } from './listen.ts';

export interface HandlerDeps {
  link: Link;
  queue: Queue;
  logger: Logger;
  health: () => { state: 'open' | 'closed' };
  maxBodyBytes: number;
  /** Of a LAN-side program that stands still. Default: 60 s. */
  patienceMs?: number;
}

const QUEUE_PATH = /^\/queue\/([0-9a-f]{32})$/;
const UPLOAD_TYPE = /^\s*(multipart\/related|application\/dicom)\s*(;|$)/i;

export function createHandler(deps: HandlerDeps, verifyCaller: VerifyCaller): RequestListener {
  return (request, response) => {
    response.on('error', () => {}); // the client went away; `close` follows
    void serve(deps, verifyCaller, request, response)
      .catch((error) => {
        const code = codeOf(error);
        if (code === 'STORE_UNAVAILABLE') deps.logger.error('store-unavailable', traceOf(error));
        if (code === 'INTERNAL') deps.logger.error('defect', traceOf(error));
        if (response.headersSent) return response.destroy(); // it must not take the part for the whole
        answerError(response, error, {
          allow: allowOf(request.url ?? ''),
          ...(code === 'GATEWAY_CLOSED' ? { reasons: deps.link.state().reasons } : {}),
        });
      })
      .finally(() => settleBody(request));
  };
}

async function serve(
  deps: HandlerDeps,
  verifyCaller: VerifyCaller,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { method = '', url = '' } = request;
  verifyCaller(request.headers);
  if (method !== 'POST' && hasBody(request)) throw errorOf('REQUEST_INVALID', 'Only POST has a body.');
  if (url === '/healthz') return answerHealth(deps, method, response);
  const [, id] = QUEUE_PATH.exec(url) ?? [];
  if (id !== undefined) return answerQueue(deps, method, id, response);
  verifyAllowed(method, url);
  if (method === 'POST' && !UPLOAD_TYPE.test(request.headers['content-type'] ?? ''))
    throw errorOf('MEDIA_TYPE_UNSUPPORTED', 'Send multipart/related or application/dicom.');
  if (method === 'POST' && !deps.link.state().open) return enqueue(deps, request, response);
  return forward(deps, request, response);
}

function answerHealth({ health }: HandlerDeps, method: string, response: ServerResponse): void {
  if (method !== 'GET') throw errorOf('METHOD_NOT_ALLOWED', 'Health is read.');
  const body = health();
  answerJson(response, body.state === 'open' ? 200 : 503, body);
}

async function answerQueue({ queue }: HandlerDeps, method: string, id: string, response: ServerResponse) {
  if (method === 'DELETE') {
    await queue.remove(id);
    response.writeHead(204).end();
  } else if (method === 'GET') {
    const found = await queue.find(id);
    if (!found) throw errorOf('NOT_FOUND', 'There is no such upload.');
    answerJson(response, 200, { id, ...found });
  } else throw errorOf('METHOD_NOT_ALLOWED', 'An upload is read or deleted.');
}

async function enqueue({ queue, logger, ...deps }: HandlerDeps, request: IncomingMessage, response: ServerResponse) {
  const body = readBody(request, deps.maxBodyBytes, deps.patienceMs);
  const id = await queue.add({ path: request.url!, headers: requestHeaders(request.headers) }, body);
  logger.info('queued', { ref: id });
  answerJson(response, 202, { queued: id }, { location: `/queue/${id}` });
}

const schemeOf = ({ socket }: IncomingMessage): string => ('encrypted' in socket ? 'https' : 'http');

async function forward(deps: HandlerDeps, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  await deps.link.run(async (connection, cut) => {
    const answer = await connection.request({
      method: request.method!,
      path: request.url!,
      // links in answers must lead back here, not around the verified connection (RFC 7239)
      headers: {
        ...requestHeaders(request.headers),
        forwarded: `host="${request.headers.host}";proto=${schemeOf(request)}`,
      },
      signal: AbortSignal.any([cut, gone.signal]),
      ...(hasBody(request) ? { body: readBody(request, deps.maxBodyBytes, deps.patienceMs) } : {}),
    });
    response.writeHead(answer.status, responseHeaders(answer.headers));
    await writeBody(response, answer.body, deps.patienceMs);
  });
}
