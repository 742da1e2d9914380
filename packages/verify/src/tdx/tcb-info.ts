/** The two signed documents of Intel's Provisioning Certification Service, API version 4: TCB info and QE identity. */
import { malformed } from '../formats/bytes.ts';
import { parseUtcTime } from '../formats/der.ts';
import {
  hexOfAnyCase,
  integer,
  list,
  object,
  oneOf,
  optional,
  type Parse,
  parseJson,
  text,
} from '../formats/schema.ts';
import { TCB_STATUSES, type TcbStatus } from './tcb-status.ts';

interface Dated {
  /** In ms. */
  issueDate: number;
  nextUpdate: number;
  /** Grows by one with each TCB recovery. */
  tcbEvaluationDataNumber: number;
}

interface Level<T> {
  tcb: T;
  tcbStatus: TcbStatus;
  advisoryIDs: string[];
}

interface Svn {
  svn: number;
}

interface PlatformTcb {
  sgxtcbcomponents: Svn[];
  pcesvn: number;
  tdxtcbcomponents: Svn[];
}

export interface ModuleIdentity {
  mrsigner: string;
  attributes: string;
  attributesMask: string;
}

export interface TcbInfo extends Dated {
  fmspc: string;
  pceId: string;
  /** Identity of version 0 of the TDX module, and of later ones with their own levels (`TDX_01`, …). */
  tdxModule: ModuleIdentity;
  tdxModuleIdentities: (ModuleIdentity & { id: string; tcbLevels: Level<{ isvsvn: number }>[] })[];
  tcbLevels: Level<PlatformTcb>[];
}

export interface QeIdentity extends Dated {
  miscselect: string;
  miscselectMask: string;
  attributes: string;
  attributesMask: string;
  mrsigner: string;
  isvprodid: number;
  tcbLevels: Level<{ isvsvn: number }>[];
}

const LEVELS = 100; // real documents have up to 20
const COMPONENTS = 16;
const open = { open: true }; // Intel adds members to these documents

const time: Parse<number> = (value, path) =>
  parseUtcTime(text(20, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/, 'a time like 2026-08-13T10:45:38Z')(value, path));

const level = <T extends object>(tcb: Parse<T>): Parse<Level<T>> =>
  object<Level<T>>({ tcb, tcbStatus: oneOf(...TCB_STATUSES), advisoryIDs: optional(list(text(40), 200), []) }, open);
const softwareLevels = list(level(object({ isvsvn: integer(0, 0xffff) }, open)), LEVELS);

const components: Parse<Svn[]> = (value, path) => {
  const parsed = list(object<Svn>({ svn: integer(0, 0xff) }, open), COMPONENTS)(value, path);
  return parsed.length === COMPONENTS ? parsed : malformed(`${path} must have ${COMPONENTS} members`);
};

const dated = { issueDate: time, nextUpdate: time, tcbEvaluationDataNumber: integer(0, 2 ** 31) };
const moduleIdentity = { mrsigner: hexOfAnyCase(48), attributes: hexOfAnyCase(8), attributesMask: hexOfAnyCase(8) };

const tcbInfo = object<TcbInfo & { id: string; version: number; tcbType: number }>(
  {
    id: oneOf('TDX'),
    version: oneOf(3),
    tcbType: oneOf(0),
    ...dated,
    fmspc: hexOfAnyCase(6),
    pceId: hexOfAnyCase(2),
    tdxModule: object<ModuleIdentity>(moduleIdentity, open),
    tdxModuleIdentities: optional(
      list(object({ id: text(20), ...moduleIdentity, tcbLevels: softwareLevels }, open), LEVELS),
      [],
    ),
    tcbLevels: list(
      level(
        object<PlatformTcb>(
          { sgxtcbcomponents: components, pcesvn: integer(0, 0xffff), tdxtcbcomponents: components },
          open,
        ),
      ),
      LEVELS,
    ),
  },
  open,
);

const qeIdentity = object<QeIdentity & { id: string; version: number }>(
  {
    id: oneOf('TD_QE'),
    version: oneOf(2),
    ...dated,
    miscselect: hexOfAnyCase(4),
    miscselectMask: hexOfAnyCase(4),
    attributes: hexOfAnyCase(16),
    attributesMask: hexOfAnyCase(16),
    mrsigner: hexOfAnyCase(32),
    isvprodid: integer(0, 0xffff),
    tcbLevels: softwareLevels,
  },
  open,
);

/** Throw MalformedError. The caller has verified the signature of the text. */
export const parseTcbInfo = (json: string): TcbInfo => tcbInfo(parseJson(json), 'tcb_info');
export const parseQeIdentity = (json: string): QeIdentity => qeIdentity(parseJson(json), 'qe_identity');
