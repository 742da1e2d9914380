/**
 * One exchange with the guest agent: HTTP/1.1, `POST` with JSON, over a unix socket or a loopback port. The agent lies
 * outside the trust boundary until a quote says otherwise, so time and bytes are bounded, and nothing that it writes
 * reaches an error: neither the body of a refusal, nor a piece of JSON that may hold a key.
 */
import { request } from 'node:http';
import type { AbatonError } from '@abaton/verify';
import { type ErrorCode, errorOf } from '../errors.ts';
import type { AgentPlace } from './agent-socket.ts';

/** `answer`: what status 200 came with; the body of any other status is not read. */
export interface AgentReply {
  status: number;
  answer: unknown;
}

const MAX_ANSWER_BYTES = 4 * 2 ** 20; // app_compose is at most 256 kB and an event log about 100 kB, hex and JSON double them

export const agentUnavailable = (method: string, why: string): AbatonError<ErrorCode> =>
  errorOf('AGENT_UNAVAILABLE', `Guest agent, ${method}: ${why}.`);

/**
 * `timeoutMs` bounds the whole exchange, however slowly an answer drips. One connection per call: a unix socket is cheap,
 * and a restarted agent is found at once. Throws AGENT_UNAVAILABLE when there is no whole answer, or none in JSON.
 */
export function askAgent(place: AgentPlace, path: string, body: object, timeoutMs: number): Promise<AgentReply> {
  const method = path.slice(path.lastIndexOf('/') + 1);
  const deadline = AbortSignal.timeout(timeoutMs);
  const text = JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const fail = (why: string): void =>
      reject(agentUnavailable(method, deadline.aborted ? `no whole answer within ${timeoutMs} ms` : why));
    const outgoing = request(
      {
        ...place.to,
        method: 'POST',
        path,
        agent: false,
        signal: deadline,
        // in bytes: dstack's own SDK counts UTF-16 units, and a subject with an umlaut then arrives cut off
        headers: { host: 'dstack', 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) },
      },
      async (response) => {
        try {
          const status = response.statusCode ?? 0;
          if (status !== 200) return resolve({ status, answer: null });
          const chunks: Buffer[] = [];
          let length = 0;
          for await (const chunk of response as AsyncIterable<Buffer>) {
            length += chunk.length;
            if (length > MAX_ANSWER_BYTES) return fail(`the answer is larger than ${MAX_ANSWER_BYTES} bytes`);
            chunks.push(chunk);
          }
          resolve({
            status,
            answer: JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks))),
          });
        } catch (error) {
          fail(isEncoding(error) ? 'the answer is not JSON' : 'the answer was cut off');
        } finally {
          outgoing.destroy();
        }
      },
    );
    outgoing.on('error', (error: NodeJS.ErrnoException) => fail(`not reachable (${error.code ?? error.name})`));
    outgoing.end(text);
  });
}

/** JSON.parse throws a SyntaxError, TextDecoder a TypeError. */
const isEncoding = (error: unknown): boolean => error instanceof SyntaxError || error instanceof TypeError;
