/** Transfer syntaxes of PS3.6 2025c Table A-1 that carry composite instances in files, retired ones included. */

export interface TransferSyntax {
  uid: string;
  name: string;
  /** Of the data set. The file meta information is always explicit little endian (PS3.10 section 7.1). */
  explicitVr: boolean;
  bigEndian: boolean;
  deflated: boolean;
  /** 'referenced': pixels lie behind a URL (JPIP), the data set has none. */
  pixels: 'native' | 'encapsulated' | 'referenced';
}

export const IMPLICIT_LE = '1.2.840.10008.1.2';
export const EXPLICIT_LE = '1.2.840.10008.1.2.1';
export const DEFLATED_LE = '1.2.840.10008.1.2.1.99';
export const EXPLICIT_BE = '1.2.840.10008.1.2.2';
export const RLE_LOSSLESS = '1.2.840.10008.1.2.5';

/** Suffixes after 1.2.840.10008.1.2; all are explicit VR little endian with encapsulated pixel data (PS3.5 A.4). */
const ENCAPSULATED: Record<string, string> = {
  '.1.98': 'Encapsulated Uncompressed Explicit VR Little Endian',
  '.4.50': 'JPEG Baseline (Process 1)',
  '.4.51': 'JPEG Extended (Process 2 & 4)',
  '.4.52': 'JPEG Extended (Process 3 & 5)',
  '.4.53': 'JPEG Spectral Selection, Non-Hierarchical (Process 6 & 8)',
  '.4.54': 'JPEG Spectral Selection, Non-Hierarchical (Process 7 & 9)',
  '.4.55': 'JPEG Full Progression, Non-Hierarchical (Process 10 & 12)',
  '.4.56': 'JPEG Full Progression, Non-Hierarchical (Process 11 & 13)',
  '.4.57': 'JPEG Lossless, Non-Hierarchical (Process 14)',
  '.4.58': 'JPEG Lossless, Non-Hierarchical (Process 15)',
  '.4.59': 'JPEG Extended, Hierarchical (Process 16 & 18)',
  '.4.60': 'JPEG Extended, Hierarchical (Process 17 & 19)',
  '.4.61': 'JPEG Spectral Selection, Hierarchical (Process 20 & 22)',
  '.4.62': 'JPEG Spectral Selection, Hierarchical (Process 21 & 23)',
  '.4.63': 'JPEG Full Progression, Hierarchical (Process 24 & 26)',
  '.4.64': 'JPEG Full Progression, Hierarchical (Process 25 & 27)',
  '.4.65': 'JPEG Lossless, Hierarchical (Process 28)',
  '.4.66': 'JPEG Lossless, Hierarchical (Process 29)',
  '.4.70': 'JPEG Lossless, Non-Hierarchical, First-Order Prediction (Process 14, Selection Value 1)',
  '.4.80': 'JPEG-LS Lossless',
  '.4.81': 'JPEG-LS Lossy (Near-Lossless)',
  '.4.90': 'JPEG 2000 (Lossless Only)',
  '.4.91': 'JPEG 2000',
  '.4.92': 'JPEG 2000 Part 2 Multi-component (Lossless Only)',
  '.4.93': 'JPEG 2000 Part 2 Multi-component',
  '.4.100': 'MPEG2 Main Profile / Main Level',
  '.4.100.1': 'Fragmentable MPEG2 Main Profile / Main Level',
  '.4.101': 'MPEG2 Main Profile / High Level',
  '.4.101.1': 'Fragmentable MPEG2 Main Profile / High Level',
  '.4.102': 'MPEG-4 AVC/H.264 High Profile / Level 4.1',
  '.4.102.1': 'Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.1',
  '.4.103': 'MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1',
  '.4.103.1': 'Fragmentable MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1',
  '.4.104': 'MPEG-4 AVC/H.264 High Profile / Level 4.2 for 2D Video',
  '.4.104.1': 'Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.2 for 2D Video',
  '.4.105': 'MPEG-4 AVC/H.264 High Profile / Level 4.2 for 3D Video',
  '.4.105.1': 'Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.2 for 3D Video',
  '.4.106': 'MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2',
  '.4.106.1': 'Fragmentable MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2',
  '.4.107': 'HEVC/H.265 Main Profile / Level 5.1',
  '.4.108': 'HEVC/H.265 Main 10 Profile / Level 5.1',
  '.4.110': 'JPEG XL Lossless',
  '.4.111': 'JPEG XL JPEG Recompression',
  '.4.112': 'JPEG XL',
  '.4.201': 'High-Throughput JPEG 2000 (Lossless Only)',
  '.4.202': 'High-Throughput JPEG 2000 with RPCL Options (Lossless Only)',
  '.4.203': 'High-Throughput JPEG 2000',
  '.5': 'RLE Lossless',
  '.8.1': 'Deflated Image Frame Compression',
};

const plain = { explicitVr: true, bigEndian: false, deflated: false, pixels: 'native' } as const;

export const TRANSFER_SYNTAXES: ReadonlyMap<string, TransferSyntax> = new Map(
  [
    { ...plain, uid: IMPLICIT_LE, name: 'Implicit VR Little Endian', explicitVr: false },
    { ...plain, uid: EXPLICIT_LE, name: 'Explicit VR Little Endian' },
    { ...plain, uid: DEFLATED_LE, name: 'Deflated Explicit VR Little Endian', deflated: true },
    { ...plain, uid: EXPLICIT_BE, name: 'Explicit VR Big Endian', bigEndian: true },
    { ...plain, uid: `${IMPLICIT_LE}.4.94`, name: 'JPIP Referenced', pixels: 'referenced' as const },
    {
      ...plain,
      uid: `${IMPLICIT_LE}.4.95`,
      name: 'JPIP Referenced Deflate',
      deflated: true,
      pixels: 'referenced' as const,
    },
    { ...plain, uid: `${IMPLICIT_LE}.4.204`, name: 'JPIP HTJ2K Referenced', pixels: 'referenced' as const },
    {
      ...plain,
      uid: `${IMPLICIT_LE}.4.205`,
      name: 'JPIP HTJ2K Referenced Deflate',
      deflated: true,
      pixels: 'referenced' as const,
    },
    ...Object.entries(ENCAPSULATED).map(([suffix, name]) => ({
      ...plain,
      uid: IMPLICIT_LE + suffix,
      name,
      pixels: 'encapsulated' as const,
    })),
  ].map((syntax): [string, TransferSyntax] => [syntax.uid, syntax]),
);
