/** A DICOM data set in memory (PS3.5 section 7): elements by tag. Big values (pixel data) are never held here. */

/** (gggg,eeee) as one number: group * 0x10000 + element. */
export type Tag = number;

export interface Element {
  tag: Tag;
  vr: string;
  /** Value bytes, little endian, without padding removed; items of a sequence. */
  value: Uint8Array | Dataset[];
}

export type Dataset = Map<Tag, Element>;

/** What the scanner learned while the instance streamed by. */
export interface InstanceHeader {
  transferSyntaxUid: string;
  sopClassUid: string;
  sopInstanceUid: string;
  studyInstanceUid: string;
  seriesInstanceUid: string;
  /** '' when absent or empty. */
  patientId: string;
  issuerOfPatientId: string;
  /** Every element up to the pixel data, without file meta. Values past `maxValueBytes` are left out. */
  dataset: Dataset;
  /**
   * Where the pixel data (7FE0,0010), float (7FE0,0008) or double (7FE0,0009), stands: offset of its value in the file
   * (deflated: in the inflated data set), and its length or 'encapsulated'. Null when there is none.
   */
  pixelData: { vr: string; offset: number; length: number | 'encapsulated' } | null;
  totalBytes: number;
  /** Memory that `dataset` takes, about. */
  headerBytes: number;
}
