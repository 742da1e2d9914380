/** What passes: paths, methods and header fields. What is not listed here is neither forwarded nor handed back. */
import { errorOf } from '../codes.ts';

/** A UID, as far as a path may hold one (PS3.5, 9.1). */
const UID = '[0-9.]{1,64}';
/** Without a trailing slash or empty segment; what is percent-encoded may be neither a slash nor a dot. */
const REST = "(?:/(?:[\\w!$&'()*+,;=:@~.-]|%(?!2[EeFf]|5[Cc]|00)[0-9A-Fa-f]{2})+)*";

const READ = ['GET', 'HEAD'];
const ROUTES: { path: RegExp; methods: string[] }[] = [
  { path: new RegExp(`^/dicom-web/studies(?:/${UID})?$`), methods: [...READ, 'POST'] },
  { path: new RegExp(`^/dicom-web${REST}$`), methods: READ },
  { path: new RegExp(`^/fhir${REST}$`), methods: READ },
  { path: new RegExp(`^/api/v1/studies/${UID}/analysis$`), methods: READ },
];

/** Node takes 16 KiB of header; of that, so much may be the address. */
const MAX_PATH_BYTES = 8192;

/** Checks method and path of a request. Throws REQUEST_INVALID, NOT_FOUND or METHOD_NOT_ALLOWED (see `allowOf`). */
export function verifyAllowed(method: string, url: string): void {
  if (url.length > MAX_PATH_BYTES)
    throw errorOf('REQUEST_INVALID', `The address has more than ${MAX_PATH_BYTES} bytes.`);
  const route = routeOf(url);
  if (!route) throw errorOf('NOT_FOUND', 'The gateway does not forward this path.');
  if (!route.methods.includes(method)) throw errorOf('METHOD_NOT_ALLOWED', 'The gateway does not forward this method.');
}

/** For the header Allow. */
export const allowOf = (url: string): string =>
  routeOf(url)?.methods.join(', ') ?? (url.startsWith('/queue/') ? 'GET, DELETE' : 'GET');

function routeOf(url: string) {
  const [path = ''] = url.split('?', 1);
  // a segment of dots would be another path to whoever resolves it
  if (/\/\.{1,2}(?:\/|$)/.test(path) || /[^\x21-\x7e]|[\\#]/.test(url)) return undefined;
  return ROUTES.find((each) => each.path.test(path));
}

/** Not among them: what is of one hop (RFC 9110, 7.6.1), Host, cookies, and what says who asks from which address. */
const REQUEST_HEADERS = [
  'accept',
  'accept-charset',
  'accept-language',
  'authorization',
  'content-encoding',
  'content-type',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-unmodified-since',
  'prefer',
  'range',
];
/** Not among them: what is of one hop, cookies, and Access-Control-*: pages of other origins get nothing. */
const RESPONSE_HEADERS = [
  'accept-ranges',
  'allow',
  'cache-control',
  'content-encoding',
  'content-language',
  'content-length',
  'content-location',
  'content-range',
  'content-type',
  'etag',
  'last-modified',
  'link',
  'location',
  'retry-after',
  'vary',
  'warning',
  'www-authenticate',
  'x-request-id',
];

const only =
  (names: readonly string[]) =>
  (headers: Readonly<Record<string, unknown>>): Record<string, string> =>
    Object.fromEntries(names.flatMap((name) => (typeof headers[name] === 'string' ? [[name, headers[name]]] : [])));

export const requestHeaders = only(REQUEST_HEADERS);
export const responseHeaders = only(RESPONSE_HEADERS);
