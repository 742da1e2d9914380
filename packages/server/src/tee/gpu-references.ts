/**
 * What a verifier of NVIDIA's GPUs needs beside their reports, and the server attaches: reference measurements (RIM) and
 * revocation (OCSP). Both are signed and judged by whoever verifies; here they are only fetched, and kept for a while.
 * A service that is down leaves its list short, and is told of once.
 */
import { createHash } from 'node:crypto';
import { fetchOcsp, fetchRim } from '@abaton/client';
import { type GpuBundle, type GpuEvidence, UnavailableError, VerificationError } from '@abaton/verify';

export interface GpuReferences {
  /** Never throws because of what a service or a device says. */
  referencesFor(devices: readonly GpuEvidence[]): Promise<Pick<GpuBundle, 'rims' | 'ocspResponses'>>;
}

/** What devices and their RIMs have to be asked for. Either may throw a VerificationError. */
export interface GpuNeeds {
  /** Under which NVIDIA keeps what these devices should measure. */
  rimIds(devices: readonly GpuEvidence[]): string[];
  /** One request (DER) for each certificate of the devices and of the RIMs (XML) that can be revoked. */
  ocspRequests(devices: readonly GpuEvidence[], rims: readonly string[]): Promise<Uint8Array[]>;
}

export interface GpuReferencesOptions {
  needs: GpuNeeds;
  /** Of a caching proxy; default: NVIDIA's services. */
  rimUrl?: string;
  ocspUrl?: string;
  timeoutMs?: number;
  /** Once when a service begins to fail, and again only after it has worked in between. */
  onTrouble: (kind: 'rim' | 'ocsp') => void;
  /** Wall clock; for tests. */
  nowMs?: () => number;
}

const DAY_MS = 24 * 3_600_000;
const RIM_MS = DAY_MS; // NVIDIA revises them under the same id
const OCSP_MS = 3_600_000; // NVIDIA's answers hold for a day: renewed long before
const RETRY_MS = 60_000; // or every evidence would wait for a service that is down
/** As many as evidence takes (@abaton/verify, evidence.ts). */
const MAX_RIMS = 32;
const MAX_OCSP = 64;

export function createGpuReferences(options: GpuReferencesOptions): GpuReferences {
  const { needs, rimUrl, ocspUrl, timeoutMs, onTrouble, nowMs = Date.now } = options;
  const limits = timeoutMs === undefined ? {} : { timeoutMs };
  const toldOf = (kind: 'rim' | 'ocsp') => {
    let troubled = false;
    return (failed: boolean): void => {
      if (failed && !troubled) onTrouble(kind);
      troubled = failed;
    };
  };
  const rims = createCache<string>(RIM_MS, MAX_RIMS, nowMs, toldOf('rim'));
  const answers = createCache<Uint8Array>(OCSP_MS, MAX_OCSP, nowMs, toldOf('ocsp'));
  const fetchOneRim = (id: string) => fetchRim(id, { ...limits, ...(rimUrl ? { baseUrl: rimUrl } : {}) });
  const fetchOneAnswer = (der: Uint8Array) => fetchOcsp(der, { ...limits, ...(ocspUrl ? { url: ocspUrl } : {}) });
  return {
    async referencesFor(devices) {
      const ids = await orNone(async () => needs.rimIds(devices));
      const foundRims = await rims.getAll(new Map(ids.map((id) => [id, () => fetchOneRim(id)])));
      const requests = await orNone(() => needs.ocspRequests(devices, foundRims));
      const found = await answers.getAll(new Map(requests.map((der) => [sha256(der), () => fetchOneAnswer(der)])));
      return { rims: foundRims, ocspResponses: found.map((der) => Buffer.from(der).toString('hex')) };
    },
  };
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** What cannot be read fails in the verification, where it shows. */
async function orNone<T>(read: () => Promise<T[]>): Promise<T[]> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof VerificationError) return [];
    throw error;
  }
}

/** What was fetched, by id. When it cannot be renewed, what there is stays: whoever verifies looks at its dates. */
function createCache<T>(maxAgeMs: number, size: number, nowMs: () => number, tell: (failed: boolean) => void) {
  const kept = new Map<string, { value: T | null; againAtMs: number }>();
  const renew = async (id: string, fetchOne: () => Promise<T>): Promise<boolean> => {
    try {
      kept.set(id, { value: await fetchOne(), againAtMs: nowMs() + maxAgeMs });
      return true;
    } catch (error) {
      if (!(error instanceof UnavailableError)) throw error;
      kept.set(id, { value: kept.get(id)?.value ?? null, againAtMs: nowMs() + RETRY_MS });
      return false;
    }
  };
  return {
    async getAll(wanted: ReadonlyMap<string, () => Promise<T>>): Promise<T[]> {
      const ids = [...wanted].slice(0, size);
      const due = ids.filter(([id]) => !((kept.get(id)?.againAtMs ?? 0) > nowMs()));
      const renewed = await Promise.all(due.map(([id, fetchOne]) => renew(id, fetchOne)));
      if (due.length > 0) tell(renewed.includes(false));
      const found = ids.flatMap(([id]) => kept.get(id)?.value ?? []);
      for (const id of kept.keys()) if (kept.size > size) kept.delete(id); // the oldest: devices do not change often
      return found as T[];
    },
  };
}
