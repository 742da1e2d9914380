/** The guest agent: which methods are where, by the version that it plays. */
import type { IncomingMessage, RequestListener } from 'node:http';
import type { Method } from './agent-fields.ts';
import { type Methods, TAPPD, V0, V1, VERSION } from './agent-methods.ts';
import { jsonAnswer, listener, parseObject, RequestError, readBody } from './http.ts';
import type { Platform } from './platform.ts';

/** What is served: by dstack 0.6; by 0.5 before 0.5.7; on the tappd.sock of guests from before 0.5. */
export const AGENT_VERSIONS = ['0.6', '0.5', 'tappd'] as const;
export type AgentVersion = (typeof AGENT_VERSIONS)[number];

/** What each version has, by the beginning of its paths. */
const SURFACES: Record<AgentVersion, [path: RegExp, methods: Methods][]> = {
  '0.6': [
    [/^\/v1\/(?:DstackGuest\.)?([\w.]+)$/, V1],
    [/^\/(?:v0\/|prpc\/)?(?:DstackGuest\.)?([\w.]+)$/, { ...V0, ...VERSION }],
  ],
  '0.5': [[/^\/(?:prpc\/)?(?:DstackGuest\.)?([\w.]+)$/, V0]],
  tappd: [[/^\/prpc\/(?:Tappd\.)?([\w.]+)$/, TAPPD]],
};

/** Throws RequestError: 404 where nothing is served, 400 for a method that is not there, as dstack 0.5 says it. */
function methodAt(version: AgentVersion, pathname: string): Method {
  for (const [path, methods] of SURFACES[version]) {
    const name = path.exec(pathname)?.[1];
    if (name === undefined) continue;
    if (!Object.hasOwn(methods, name)) throw new RequestError(400, 'No such method');
    return methods[name]!;
  }
  throw new RequestError(404, 'Nothing is served here');
}

async function inputOf(request: IncomingMessage, query: URLSearchParams): Promise<Record<string, unknown>> {
  if (request.method === 'POST') {
    const body = await readBody(request);
    return body === '' ? {} : parseObject(body);
  }
  if (request.method !== 'GET') throw new RequestError(405, 'Only GET and POST');
  const names = [...new Set(query.keys())];
  return Object.fromEntries(
    names.map((name) => [name, query.getAll(name).length === 1 ? query.get(name) : query.getAll(name)]),
  );
}

/** As with dstack, a refusal is `{ error }`. */
export const agentListener = (platform: () => Platform, version: AgentVersion): RequestListener =>
  listener(async (request, { pathname, searchParams }) => {
    if (platform().conditions.agentDown) throw new RequestError(503, 'Service unavailable');
    const call = methodAt(version, pathname);
    return jsonAnswer(await call(platform(), await inputOf(request, searchParams)));
  });
