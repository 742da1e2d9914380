/** Files that must be refused, each with the failure that names it. */
import { deflateRawSync } from 'node:zlib';
import { DICOM_FAILURES, type DicomFailure } from '../../src/imaging/dicom-failures.ts';
import { dataset, element, fileHeader, imageFile, imageHeader, SECONDARY_CAPTURE } from './part10.ts';

export interface BadFile {
  name: string;
  file: Buffer;
  failure: DicomFailure;
  /** Whether the SOP Class and Instance UIDs can be read before the fault. */
  named: boolean;
}

export const reasonOf = (failure: DicomFailure): number => DICOM_FAILURES[failure].reason;

/** The bad inputs of the issue that this server was built from. `study` is the study that they claim to belong to. */
export function badFiles(study: string): BadFile[] {
  const uids = (n: number) => ({ study, series: `${study}.1`, instance: `${study}.1.${n}` });
  const withPreamble = (n: number, hex: string) => {
    const file = imageFile(uids(n));
    file.write(hex, 0, 'hex');
    return file;
  };
  const good = imageFile(uids(1));
  const bomb = Buffer.concat([
    imageHeader({ ...uids(2), rows: 16384, columns: 4096 }).subarray(
      fileHeader(SECONDARY_CAPTURE, uids(2).instance).length,
    ),
    element('7FE00010', 'OW', Buffer.alloc(16384 * 4096)),
  ]);
  const sequence = Buffer.from('400030a75351 0000 ffffffff feff00e0 ffffffff'.replaceAll(' ', ''), 'hex');
  const wrongLength = imageHeader(uids(4));
  return [
    { name: 'truncated', file: good.subarray(0, -7), failure: 'DICOM_TRUNCATED', named: true },
    { name: 'not DICOM', file: Buffer.from('<html>no image</html>'.repeat(20)), failure: 'DICOM_NOT', named: false },
    {
      name: 'wrong length',
      file: Buffer.concat([wrongLength, element('7FE00010', 'OW', Buffer.alloc(6))]),
      failure: 'DICOM_PIXELS_LENGTH_WRONG',
      named: true,
    },
    {
      name: 'deflate bomb',
      file: Buffer.concat([
        fileHeader(SECONDARY_CAPTURE, uids(2).instance, '1.2.840.10008.1.2.1.99'),
        deflateRawSync(bomb, { level: 9 }),
      ]),
      failure: 'DICOM_DEFLATE_BOMB',
      named: true,
    },
    {
      name: 'nested 100,000 deep',
      file: Buffer.concat([imageHeader(uids(5)), ...Array.from({ length: 100_000 }, () => sequence)]),
      failure: 'DICOM_TOO_DEEP',
      named: true,
    },
    {
      name: 'huge Rows and Columns',
      file: Buffer.concat([
        imageHeader({ ...uids(6), rows: 65535, columns: 65535 }),
        element('7FE00010', 'OW', Buffer.alloc(16)),
      ]),
      failure: 'DICOM_PIXELS_IMPLAUSIBLE',
      named: true,
    },
    { name: 'PE preamble', file: withPreamble(7, '4d5a9000'), failure: 'DICOM_PREAMBLE_EXECUTABLE', named: false },
    { name: 'ELF preamble', file: withPreamble(8, '7f454c46'), failure: 'DICOM_PREAMBLE_EXECUTABLE', named: false },
    {
      name: 'unsupported transfer syntax',
      file: Buffer.concat([fileHeader(SECONDARY_CAPTURE, uids(9).instance, '1.2.3.4.5'), dataset({})]),
      failure: 'DICOM_TRANSFER_SYNTAX_UNKNOWN',
      named: true,
    },
    {
      name: 'no file meta',
      file: good.subarray(fileHeader(SECONDARY_CAPTURE, uids(1).instance).length),
      failure: 'DICOM_FILE_META_MISSING',
      named: false,
    },
  ];
}
