/**
 * Why an instance was not stored: one row per cause. `reason` is the Failure Reason (0008,1197) of the STOW-RS response
 * (PS3.18 section 10.5.3, Table "Store Instances Response Failure Reason Values"; the ranges are those of PS3.4
 * Table B.2-1): A7xx out of resources, A9xx the data set does not match its SOP Class, Cxxx cannot understand,
 * C122 transfer syntax not supported, 0122 SOP Class not supported. Within a range the number is ours, one per cause.
 */
import { ConfigurationError } from '@abaton/verify';

interface Failure {
  reason: number;
  meaning: string;
  remedy: string;
}

export const DICOM_FAILURES = {
  DICOM_TOO_LARGE: {
    reason: 0xa700,
    meaning: 'The instance is larger than the limit.',
    remedy: 'Raise ABATON_MAX_INSTANCE_BYTES, or send it in parts.',
  },
  DICOM_HEADER_TOO_LARGE: {
    reason: 0xa701,
    meaning: 'The elements before the pixel data need more memory than the limit.',
    remedy: 'Raise ABATON_MAX_HEADER_BYTES.',
  },
  DICOM_DEFLATE_BOMB: {
    reason: 0xa702,
    meaning: 'The deflated data set grows beyond all plausible ratios.',
    remedy: 'Send it without deflate.',
  },
  DICOM_IDENTITY_MISSING: {
    reason: 0xa900,
    meaning: 'SOP Class, SOP Instance, Study or Series Instance UID is missing or empty.',
    remedy: 'Complete the data set; without these four it belongs nowhere.',
  },
  DICOM_IDENTITY_WRONG: {
    reason: 0xa901,
    meaning: 'A UID is not a UID, or the file meta information names another instance than the data set.',
    remedy: 'Write the file again with the tool that made it.',
  },
  DICOM_PIXELS_MISSING: {
    reason: 0xa902,
    meaning: 'The data set describes an image, but has no pixel data, or fewer fragments than frames.',
    remedy: 'Send the complete instance.',
  },
  DICOM_PIXELS_IMPLAUSIBLE: {
    reason: 0xa903,
    meaning: 'Rows, Columns, bits or frames are missing, zero, or too large for any image.',
    remedy: 'Correct the Image Pixel module.',
  },
  DICOM_PIXELS_LENGTH_WRONG: {
    reason: 0xa904,
    meaning: 'The length of the pixel data is not Rows × Columns × Samples × Bits × Frames.',
    remedy: 'Correct the Image Pixel module, or send the complete instance.',
  },
  DICOM_ENCAPSULATION_WRONG: {
    reason: 0xa905,
    meaning: 'The pixel data is encapsulated under a native transfer syntax, or native under an encapsulated one.',
    remedy: 'Correct the Transfer Syntax UID.',
  },
  DICOM_NOT: {
    reason: 0xc000,
    meaning: 'This is not DICOM.',
    remedy: 'Send DICOM files (PS3.10) only.',
  },
  DICOM_FILE_META_MISSING: {
    reason: 0xc001,
    meaning: 'A bare data set: preamble, prefix or file meta information is missing, so its encoding is a guess.',
    remedy: 'Make it a DICOM file, for example with `dcmconv IN OUT`.',
  },
  DICOM_FILE_META_WRONG: {
    reason: 0xc002,
    meaning: 'The file meta information does not follow PS3.10 section 7.1: its group length or an element is wrong.',
    remedy: 'Write the file again with a conforming tool.',
  },
  DICOM_TRANSFER_SYNTAX_MISSING: {
    reason: 0xc003,
    meaning: 'The file meta information has no Transfer Syntax UID.',
    remedy: 'Write the file again with a conforming tool.',
  },
  DICOM_PREAMBLE_EXECUTABLE: {
    reason: 0xc004,
    meaning: 'The preamble is the start of a program or script: the file is DICOM and malware-capable at once.',
    remedy: 'Treat its source as compromised; zero the first 128 bytes if the image is needed.',
  },
  DICOM_PREAMBLE_UNKNOWN: {
    reason: 0xc005,
    meaning: 'The preamble is neither zero nor the header of a TIFF, the one dual use that is known.',
    remedy: 'Zero the first 128 bytes.',
  },
  DICOM_TRUNCATED: {
    reason: 0xc010,
    meaning: 'The file ends inside an element.',
    remedy: 'Send the complete file.',
  },
  DICOM_LENGTH_WRONG: {
    reason: 0xc011,
    meaning: 'A length contradicts the sequence or item around it, or is undefined where it must be defined.',
    remedy: 'Write the file again with a conforming tool.',
  },
  DICOM_VR_WRONG: {
    reason: 0xc012,
    meaning: 'An element has no value representation where one must stand.',
    remedy: 'Correct the Transfer Syntax UID, or write the file again.',
  },
  DICOM_STRUCTURE_WRONG: {
    reason: 0xc013,
    meaning: 'An item, a delimiter or a group stands where it cannot.',
    remedy: 'Write the file again with a conforming tool.',
  },
  DICOM_ORDER_WRONG: {
    reason: 0xc014,
    meaning: 'Elements are repeated or out of order (PS3.5 section 7.1): two readers could see two patients.',
    remedy: 'Write the file again with a conforming tool.',
  },
  DICOM_TOO_DEEP: {
    reason: 0xc015,
    meaning: 'Sequences are nested deeper than the limit.',
    remedy: 'Send a data set that no one built to break a reader.',
  },
  DICOM_DEFLATE_CORRUPT: {
    reason: 0xc016,
    meaning: 'The deflated data set is not a deflate stream (RFC 1951), or bytes follow its end.',
    remedy: 'Send it again, or without deflate.',
  },
  DICOM_TRANSFER_SYNTAX_UNKNOWN: {
    reason: 0xc122,
    meaning: 'The transfer syntax is not one that can be stored.',
    remedy:
      'Send it in a transfer syntax of PS3.6 Table A-1 that files may have, for example Explicit VR Little Endian.',
  },
  DICOM_SOP_CLASS_UNSUPPORTED: {
    reason: 0x0122,
    meaning: 'The SOP Class is not one that is stored, for example a DICOMDIR.',
    remedy: 'Send the instances themselves.',
  },
  STUDY_MISMATCH: {
    reason: 0xa910,
    meaning: 'The Study Instance UID is not the one of the request path.',
    remedy: 'Send it to its own study, or without a study in the path.',
  },
  DUPLICATE_INSTANCE: {
    reason: 0x0111, // PS3.7 Annex C, Duplicate SOP Instance
    meaning: 'An instance with this SOP Instance UID and other content is stored already; the first is kept.',
    remedy: 'Give changed content its own SOP Instance UID.',
  },
} as const satisfies Record<string, Failure>;

export type DicomFailure = keyof typeof DICOM_FAILURES;

/** An instance that will fail again as it is. The message carries offsets and sizes only. */
export class DicomError extends ConfigurationError<DicomFailure> {
  /** Failure Reason (0008,1197). */
  readonly failureReason: number;

  constructor(code: DicomFailure, detail: string) {
    super(code, `${DICOM_FAILURES[code].meaning} (${detail})`);
    this.failureReason = DICOM_FAILURES[code].reason;
  }
}
