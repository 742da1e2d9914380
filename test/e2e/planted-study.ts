/** A synthetic study that carries 42 identifiers where identifiers hide: the canaries of the I2 test. */
import { randomBytes, randomInt } from 'node:crypto';
import type { Dataset, Element } from '../../packages/server/src/imaging/dataset.ts';
import { drawPhantom } from '../../packages/server/src/imaging/phantom.ts';
import { createScanner } from '../../packages/server/src/imaging/scan.ts';
import { writePart10 } from '../../packages/server/src/imaging/write.ts';

export interface PlantedStudy {
  part10: Uint8Array;
  /** Each of the identifiers, as bytes. */
  canaries: Buffer[];
  /** For the file name and for query strings. */
  fileName: string;
  queries: string[];
  studyInstanceUid: string;
}

/** Attributes that the identifiers stand in: PS3.15 Table E.1-1 lists them all (private ones as a class). */
const TEXT_ATTRIBUTES: [number, string][] = [
  [0x00080050, 'SH'], // Accession Number
  [0x00080080, 'LO'], // Institution Name
  [0x00080081, 'ST'], // Institution Address
  [0x00080090, 'PN'], // Referring Physician's Name
  [0x00080094, 'SH'], // Referring Physician's Telephone Numbers
  [0x00081010, 'SH'], // Station Name
  [0x00081030, 'LO'], // Study Description
  [0x0008103e, 'LO'], // Series Description
  [0x00081048, 'PN'], // Physician(s) of Record
  [0x00081050, 'PN'], // Performing Physician's Name
  [0x00081070, 'PN'], // Operators' Name
  [0x00081080, 'LO'], // Admitting Diagnoses Description
  [0x00100010, 'PN'], // Patient's Name
  [0x00100020, 'LO'], // Patient ID
  [0x00100021, 'LO'], // Issuer of Patient ID
  [0x00101000, 'LO'], // Other Patient IDs
  [0x00101001, 'PN'], // Other Patient Names
  [0x00101005, 'PN'], // Patient's Birth Name
  [0x00101040, 'LO'], // Patient's Address
  [0x00101060, 'PN'], // Patient's Mother's Birth Name
  [0x00101090, 'LO'], // Medical Record Locator
  [0x00102000, 'LO'], // Medical Alerts
  [0x00102154, 'SH'], // Patient's Telephone Numbers
  [0x00102160, 'SH'], // Ethnic Group
  [0x00102180, 'SH'], // Occupation
  [0x001021b0, 'LT'], // Additional Patient History
  [0x00104000, 'LT'], // Patient Comments
  [0x00181000, 'LO'], // Device Serial Number
  [0x00181030, 'LO'], // Protocol Name
  [0x00200010, 'SH'], // Study ID
  [0x00204000, 'LT'], // Image Comments
  [0x00321032, 'PN'], // Requesting Physician
  [0x00321060, 'LO'], // Requested Procedure Description
  [0x00380300, 'LO'], // Current Patient Location
  [0x00400006, 'PN'], // Scheduled Performing Physician's Name
  [0x00091001, 'LO'], // private
];

/** 14 characters that fit every VR above and occur nowhere else. */
const identifier = () => `CN${randomBytes(6).toString('hex').toUpperCase()}`;
const uid = () =>
  `2.25.${randomInt(1, 10)}${randomBytes(15).reduce((digits, byte) => digits + String(byte % 10) + String((byte >> 4) % 10), '')}`;

export function plantStudy(): PlantedStudy {
  const studyInstanceUid = uid();
  const scanner = createScanner();
  scanner.push(drawPhantom({ studyInstanceUid, ageYears: 3, now: new Date() }));
  const dataset: Dataset = new Map(scanner.end().dataset);
  const canaries = [Buffer.from(studyInstanceUid)];
  const put = (tag: number, vr: string, value: Uint8Array | Dataset[]) =>
    dataset.set(tag, { tag, vr, value } satisfies Element);

  for (const [tag, vr] of TEXT_ATTRIBUTES) {
    const canary = Buffer.from(identifier());
    canaries.push(canary);
    put(tag, vr, canary);
  }
  put(0x00090010, 'LO', Buffer.from('ABATON TEST')); // private creator of (0009,1001)

  // One inside a sequence, one in an overlay plane (60xx,3000), one burned into the pixels.
  const nested = Buffer.from(identifier());
  put(0x00101002, 'SQ', [new Map([[0x00100020, { tag: 0x00100020, vr: 'LO', value: nested }]])]); // Other Patient IDs Sequence
  const overlay = randomBytes(32);
  put(0x60003000, 'OW', overlay);
  const pixels = randomBytes(512 * 512 * 2).map((byte, i) => (i % 2 === 1 ? byte & 0x0f : byte)); // 12 bits stored
  const burnedIn = Buffer.from(pixels.subarray(4096, 4096 + 32));
  put(0x7fe00010, 'OW', pixels);
  canaries.push(nested, overlay, burnedIn);

  const [fileName, query] = [identifier(), identifier()];
  canaries.push(Buffer.from(fileName), Buffer.from(query));
  return { part10: writePart10(dataset), canaries, fileName, queries: [query], studyInstanceUid };
}
