/**
 * To which firmware the key of a device was bound when it booted (TCG DICE): the leaf certificate says it, and the report.
 * Two extensions carry it. Hopper and its switches have the older one, CompositeDeviceID; Blackwell has DiceTcbInfo (TCG
 * DICE Attestation Architecture section 6.1.1), which NVIDIA's SDK expects under the older number as well:
 *
 *   CompositeDeviceID ::= SEQUENCE { version INTEGER, key SubjectPublicKeyInfo, fwid FWID }
 *   DiceTcbInfo ::= SEQUENCE { vendor [0], model [1], version [2], svn [3], layer [4], index [5], fwids [6], … }, optional all
 *   FWID ::= SEQUENCE { hashAlg OBJECT IDENTIFIER, digest OCTET STRING }
 */
import { reading, refuse } from '../errors.ts';
import { bytesToHex, equalBytes, malformed } from '../formats/bytes.ts';
import { DerFields, parseDer, parseDerList, TAG } from '../formats/der.ts';
import type { Certificate } from '../pki/x509.ts';
import type { SpdmReport } from './spdm-report.ts';

const COMPOSITE_DEVICE_ID = '2.23.133.5.4.1';
const DICE_TCB_INFO = '2.23.133.5.4.1.1';
const BEFORE_FWIDS = [0x80, 0x81, 0x82, 0x83, 0x84, 0x85];
const FWIDS = 0xa6;
/** Reports name their firmware from this driver on (535 does not); switches do not yet. */
const DRIVER_SINCE = 550;

/** False when the report does not say. Throws GPU_FIRMWARE_MISMATCH when it names other firmware, or should have said. */
export function verifyFirmwareId(
  { firmwareId, driverVersion }: Pick<SpdmReport, 'firmwareId' | 'driverVersion'>,
  leaf: Certificate,
): boolean {
  if (firmwareId === null) {
    if (driverVersion !== null && !(Number.parseInt(driverVersion, 10) < DRIVER_SINCE))
      refuse('GPU_FIRMWARE_MISMATCH', `a firmware id, since driver ${DRIVER_SINCE}`, `none, driver ${driverVersion}`);
    return false;
  }
  const certified = reading('GPU_FIRMWARE_MISMATCH', 'firmware id in the certificate', () => parseFirmwareId(leaf));
  if (!equalBytes(certified, firmwareId))
    refuse('GPU_FIRMWARE_MISMATCH', bytesToHex(certified), bytesToHex(firmwareId));
  return true;
}

function parseFirmwareId({ extensions }: Certificate): Uint8Array {
  const { value } =
    extensions.get(DICE_TCB_INFO) ?? extensions.get(COMPOSITE_DEVICE_ID) ?? malformed('certificate names no firmware');
  const fields = new DerFields(parseDer(value, TAG.SEQUENCE).value);
  if (fields.optional(TAG.INTEGER)) {
    fields.next(TAG.SEQUENCE);
    const digest = parseDigest(fields.next(TAG.SEQUENCE).value);
    fields.end();
    return digest;
  }
  for (const tag of BEFORE_FWIDS) fields.optional(tag);
  const [first] = parseDerList(fields.next(FWIDS).value, TAG.SEQUENCE); // a second one, all zeros, follows on Blackwell
  return first ? parseDigest(first.value) : malformed('list of firmware ids is empty');
}

function parseDigest(fwid: Uint8Array): Uint8Array {
  const fields = new DerFields(fwid);
  fields.next(TAG.OID);
  const digest = fields.next(TAG.OCTET_STRING).value;
  fields.end();
  return digest;
}
