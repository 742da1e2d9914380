/** DICOM files (PS3.10) for tests, explicit VR little endian: written here, not by the code under test. */

export type Elements = Record<string, [vr: string, value: string | number | Uint8Array | Elements[]]>;

const LONG = new Set(['OB', 'OW', 'SQ', 'UN', 'UT']); // PS3.5 section 7.1.2, the ones that are used here

/** `tag`: eight hexadecimal digits. Numbers are US; strings are padded to an even length (UI with NULL). */
export function element(tag: string, vr: string, value: string | number | Uint8Array | Elements[]): Buffer {
  const group = Number.parseInt(tag.slice(0, 4), 16);
  const head = Buffer.alloc(LONG.has(vr) ? 12 : 8);
  head.writeUInt16LE(group, 0);
  head.writeUInt16LE(Number.parseInt(tag.slice(4), 16), 2);
  head.write(vr, 4, 'latin1');
  const bytes = encode(vr, value);
  if (LONG.has(vr)) head.writeUInt32LE(bytes.length, 8);
  else head.writeUInt16LE(bytes.length, 6);
  return Buffer.concat([head, bytes]);
}

function encode(vr: string, value: string | number | Uint8Array | Elements[]): Buffer {
  if (typeof value === 'number') return Buffer.from(Uint16Array.of(value).buffer);
  if (Array.isArray(value))
    return Buffer.concat(
      value.map((item) => {
        const body = dataset(item);
        const head = Buffer.from('feff00e000000000', 'hex');
        head.writeUInt32LE(body.length, 4);
        return Buffer.concat([head, body]);
      }),
    );
  const bytes = Buffer.from(value as string, 'utf8');
  return bytes.length % 2 === 0 ? bytes : Buffer.concat([bytes, Buffer.from(vr === 'UI' || vr === 'OB' ? '\0' : ' ')]);
}

export const dataset = (elements: Elements): Buffer =>
  Buffer.concat(
    Object.entries(elements)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([tag, [vr, value]]) => element(tag, vr, value)),
  );

export const EXPLICIT_LE = '1.2.840.10008.1.2.1';
export const SECONDARY_CAPTURE = '1.2.840.10008.5.1.4.1.1.7';

/** Preamble, prefix and file meta information for the two UIDs. */
export function fileHeader(sopClassUid: string, sopInstanceUid: string, transferSyntaxUid = EXPLICIT_LE): Buffer {
  const meta = dataset({
    '00020001': ['OB', Uint8Array.of(0, 1)],
    '00020002': ['UI', sopClassUid],
    '00020003': ['UI', sopInstanceUid],
    '00020010': ['UI', transferSyntaxUid],
    '00020012': ['UI', '1.2.3.4'],
  });
  const length = Buffer.from('0200000055 4c0400 00000000'.replaceAll(' ', ''), 'hex');
  length.writeUInt32LE(meta.length, 8);
  return Buffer.concat([Buffer.alloc(128), Buffer.from('DICM'), length, meta]);
}

export interface Image {
  study: string;
  series: string;
  instance: string;
  rows?: number;
  columns?: number;
  frames?: number;
  pixels?: Uint8Array;
  more?: Elements;
}

/** The data set of an 8-bit monochrome secondary capture, without its pixel data. */
export const imageHeader = ({ study, series, instance, rows = 4, columns = 4, frames = 1, more = {} }: Image): Buffer =>
  Buffer.concat([
    fileHeader(SECONDARY_CAPTURE, instance),
    dataset({
      '00080005': ['CS', 'ISO_IR 192'],
      '00080016': ['UI', SECONDARY_CAPTURE],
      '00080018': ['UI', instance],
      '00080060': ['CS', 'OT'],
      '0020000D': ['UI', study],
      '0020000E': ['UI', series],
      '00280002': ['US', 1],
      '00280004': ['CS', 'MONOCHROME2'],
      ...(frames > 1 ? { '00280008': ['IS', `${frames}`] as [string, string] } : {}),
      '00280010': ['US', rows],
      '00280011': ['US', columns],
      '00280100': ['US', 8],
      '00280101': ['US', 8],
      '00280102': ['US', 7],
      '00280103': ['US', 0],
      ...more,
    }),
  ]);

/** A whole file; pixels count up unless they are given. */
export function imageFile(image: Image): Buffer {
  const { rows = 4, columns = 4, frames = 1 } = image;
  const pixels = image.pixels ?? Buffer.from(Array.from({ length: rows * columns * frames }, (_, i) => i & 0xff));
  return Buffer.concat([imageHeader(image), element('7FE00010', 'OW', pixels)]);
}
