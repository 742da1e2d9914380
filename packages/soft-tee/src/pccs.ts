/** Collateral over HTTP, as Intel's PCS API v4 and its caching service (PCCS) give it. */
import type { RequestListener } from 'node:http';
import type { Collateral, Signed } from './collateral.ts';
import { type Answer, listener, RequestError } from './http.ts';
import { PLATFORM } from './pki.ts';

/** The signed text is put in as it is, so that whoever cuts it out again has every byte that was signed. */
const envelope = (name: string, { text, signature }: Signed): string =>
  `{"${name}":${text},"signature":"${signature}"}`;

/** The header that carries the issuer chain, URL-encoded as Intel does. */
const chain = (name: string, pems: string) => ({ [name]: encodeURIComponent(pems) });

/** The answer, or null: not found. */
function answerOf(path: string, query: URLSearchParams, collateral: Collateral): Answer | null {
  const type = 'application/json';
  const { tcbSigningChain, pckCrlIssuerChain } = collateral;
  switch (path) {
    case '/tdx/certification/v4/tcb': {
      if (query.get('fmspc')?.toLowerCase() !== PLATFORM.fmspc.toString('hex')) return null;
      const headers = chain('TCB-Info-Issuer-Chain', tcbSigningChain);
      return { type, body: envelope('tcbInfo', collateral.tcbInfo), headers };
    }
    case '/tdx/certification/v4/qe/identity': {
      const headers = chain('SGX-Enclave-Identity-Issuer-Chain', tcbSigningChain);
      return { type, body: envelope('enclaveIdentity', collateral.qeIdentity), headers };
    }
    case '/sgx/certification/v4/pckcrl': {
      // One PCK CA stands for both of Intel's.
      if (!['platform', 'processor'].includes(query.get('ca') ?? '')) return null;
      const headers = chain('SGX-PCK-CRL-Issuer-Chain', pckCrlIssuerChain);
      return query.get('encoding') === 'der'
        ? { type: 'application/pkix-crl', body: collateral.pckCrl, headers }
        : { type: 'text/plain', body: collateral.pckCrl.toString('hex'), headers };
    }
    case '/sgx/certification/v4/rootcacrl':
      return { type: 'text/plain', body: collateral.rootCrl.toString('hex') };
    default:
      return null;
  }
}

export const pccsListener = (collateral: () => Promise<Collateral>): RequestListener =>
  listener(async (request, { pathname, searchParams }) => {
    const answer = request.method === 'GET' ? answerOf(pathname, searchParams, await collateral()) : null;
    if (!answer) throw new RequestError(404, 'Not found');
    return answer;
  });
