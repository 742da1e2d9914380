/**
 * RLE Lossless (PS3.5 Annex G): each byte plane of a frame is one PackBits segment, most significant byte first.
 *
 *   offset  bytes  meaning
 *        0      4  number of segments, 1 to 15
 *        4   4×15  offset of each segment from the start of this header
 */
export class RleError extends Error {}

const HEADER_BYTES = 64;
const MAX_SEGMENTS = 15;

/** One frame of `pixels` pixels with `bytesPerPixel` planes; little endian. Throws RleError on anything inexact. */
export function decodeRleFrame(frame: Uint8Array, pixels: number, bytesPerPixel: number): Uint8Array {
  if (frame.length < HEADER_BYTES) throw new RleError('no header');
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  const segments = view.getUint32(0, true);
  if (segments > MAX_SEGMENTS || segments !== bytesPerPixel) throw new RleError('wrong number of segments');
  const offsets = Array.from({ length: segments }, (_, i) => view.getUint32(4 + 4 * i, true));
  const out = new Uint8Array(pixels * bytesPerPixel);
  offsets.forEach((start, i) => {
    const end = offsets[i + 1] ?? frame.length;
    if (start < HEADER_BYTES || end < start || end > frame.length) throw new RleError('a segment outside the frame');
    unpack(frame.subarray(start, end), out, bytesPerPixel - 1 - i, bytesPerPixel, pixels);
  });
  return out;
}

/** PackBits (section G.3.1) into every `step`-th byte of `out`. A segment may end in padding once all pixels are there. */
function unpack(segment: Uint8Array, out: Uint8Array, first: number, step: number, pixels: number): void {
  let done = 0;
  for (let at = 0; done < pixels; ) {
    const control = segment[at++];
    if (control === undefined) throw new RleError('a segment is too short');
    if (control === 128) continue;
    const literal = control < 128;
    const count = literal ? control + 1 : 257 - control;
    if (done + count > pixels || at + (literal ? count : 1) > segment.length) throw new RleError('a run is too long');
    for (let i = 0; i < count; i++, done++) out[first + done * step] = segment[literal ? at + i : at]!;
    at += literal ? count : 1;
  }
}
