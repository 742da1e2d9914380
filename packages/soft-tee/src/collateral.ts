/** TCB info, QE identity and revocation lists in the shapes of Intel's PCS API v4, signed by the simulated tree. */
import type { Conditions } from './faults.ts';
import { issueCrl, type Pki, PLATFORM, pem, signRaw } from './pki.ts';
import { TD_QE, TEE_TCB_SVN } from './quote.ts';

export interface Signed {
  /** The exact signed text: compact JSON. */
  text: string;
  /** r‖s, hex */
  signature: string;
}

export interface Collateral {
  tcbInfo: Signed;
  qeIdentity: Signed;
  /** DER */
  pckCrl: Buffer;
  rootCrl: Buffer;
  /** PEM, leaf first */
  tcbSigningChain: string;
  pckCrlIssuerChain: string;
  /** After this moment it is to be issued anew. */
  renewAt: Date;
}

const DAY_MS = 86_400_000;
/** As Intel's: 30 days from issue to next update. */
const VALID_DAYS = 30;
/** Long before the lists expire, so that nobody who fetches ever gets nearly expired ones. */
const RENEW_DAYS = 7;

/** Constant, so that a fault that comes and goes is no step back for a verifier that demands growth. */
export const TCB_EVALUATION_DATA_NUMBER = 1;

const upperHex = (bytes: Buffer): string => bytes.toString('hex').toUpperCase();
/** Seconds only, as Intel writes it; cut down, so never in the future. */
const isoSeconds = (date: Date): string => date.toISOString().replace(/\.\d{3}Z$/, 'Z');

/** Window of validity: from now, or wholly in the past. */
function window(now: Date, expired: boolean): { issued: Date; next: Date } {
  const issued = new Date(now.getTime() - (expired ? 2 * VALID_DAYS * DAY_MS : 0));
  return { issued, next: new Date(issued.getTime() + VALID_DAYS * DAY_MS) };
}

/** A level that asks for these SVNs; `raise` asks for more microcode than the platform has. */
function tcbLevel(tcbStatus: string, tcbDate: string, raise = 0, advisoryIDs: string[] = []): object {
  const components = (svns: Buffer) => [...svns].map((svn, i) => ({ svn: i === 0 ? svn + raise : svn }));
  const tcb = {
    sgxtcbcomponents: components(PLATFORM.cpuSvn),
    pcesvn: PLATFORM.pceSvn,
    tdxtcbcomponents: [...TEE_TCB_SVN].map((svn, i) => ({ svn: i < 2 ? 0 : svn })), // 0 and 1 are the module's
  };
  return { tcb, tcbDate, tcbStatus, ...(advisoryIDs.length > 0 ? { advisoryIDs } : {}) };
}

function tcbInfo({ tcbStatus, collateralExpired }: Conditions, now: Date): object {
  const { issued, next } = window(now, collateralExpired);
  const date = isoSeconds(issued);
  const module = { mrsigner: '00'.repeat(48), attributes: '00'.repeat(8), attributesMask: 'FF'.repeat(8) };
  const [moduleSvn, moduleVersion] = TEE_TCB_SVN;
  return {
    id: 'TDX',
    version: 3,
    issueDate: date,
    nextUpdate: isoSeconds(next),
    fmspc: upperHex(PLATFORM.fmspc),
    pceId: upperHex(PLATFORM.pceId),
    tcbType: 0,
    tcbEvaluationDataNumber: TCB_EVALUATION_DATA_NUMBER,
    tdxModule: module,
    tdxModuleIdentities: [
      {
        id: `TDX_${moduleVersion!.toString(16).padStart(2, '0').toUpperCase()}`,
        ...module,
        tcbLevels: [{ tcb: { isvsvn: moduleSvn }, tcbDate: date, tcbStatus: 'UpToDate' }],
      },
    ],
    // A TCB recovery leaves the platform behind: the first level is out of its reach, the second is not.
    // No real advisory has the number 00000.
    tcbLevels:
      tcbStatus === 'UpToDate'
        ? [tcbLevel('UpToDate', date)]
        : [tcbLevel('UpToDate', date, 1), tcbLevel(tcbStatus, date, 0, ['INTEL-SA-00000'])],
  };
}

function qeIdentity({ collateralExpired }: Conditions, now: Date): object {
  const { issued, next } = window(now, collateralExpired);
  return {
    id: 'TD_QE',
    version: 2,
    issueDate: isoSeconds(issued),
    nextUpdate: isoSeconds(next),
    tcbEvaluationDataNumber: TCB_EVALUATION_DATA_NUMBER,
    miscselect: '00000000',
    miscselectMask: 'FFFFFFFF',
    attributes: upperHex(TD_QE.attributes),
    attributesMask: 'FBFFFFFFFFFFFFFF0000000000000000', // Intel's: all bits but MODE64BIT
    mrsigner: upperHex(TD_QE.mrSigner),
    isvprodid: TD_QE.isvProdId,
    tcbLevels: [{ tcb: { isvsvn: TD_QE.isvSvn }, tcbDate: isoSeconds(issued), tcbStatus: 'UpToDate' }],
  };
}

/** Issues all of it, dated `now` or as the conditions say. */
export async function issueCollateral(pki: Pki, conditions: Conditions, now: Date): Promise<Collateral> {
  const sign = async (document: object): Promise<Signed> => {
    const text = JSON.stringify(document);
    return { text, signature: (await signRaw(pki.tcbSigning.keys, Buffer.from(text))).toString('hex') };
  };
  const { issued, next } = window(now, conditions.crlExpired);
  const root = pem(pki.root.certificate);
  return {
    tcbInfo: await sign(tcbInfo(conditions, now)),
    qeIdentity: await sign(qeIdentity(conditions, now)),
    pckCrl: await issueCrl(pki.pckCa, conditions.pckRevoked ? [pki.pck.certificate] : [], issued, next),
    rootCrl: await issueCrl(pki.root, [], issued, next),
    tcbSigningChain: pem(pki.tcbSigning.certificate) + root,
    pckCrlIssuerChain: pem(pki.pckCa.certificate) + root,
    renewAt: new Date(now.getTime() + RENEW_DAYS * DAY_MS),
  };
}
