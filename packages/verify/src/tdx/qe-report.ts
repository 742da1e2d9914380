/**
 * Report of the quoting enclave (Intel SGX REPORT body, 384 bytes; Intel SDM volume 3D, "REPORT").
 *
 *   offset  bytes            offset  bytes            offset  bytes
 *        0     16 CPUSVN         64     32 MRENCLAVE     256      2 ISVPRODID
 *       16      4 MISCSELECT    128     32 MRSIGNER      258      2 ISVSVN
 *       48     16 ATTRIBUTES    192     64 CONFIGID      320     64 REPORTDATA
 */
export interface QeReport {
  miscSelect: Uint8Array;
  attributes: Uint8Array;
  mrSigner: Uint8Array;
  isvProdId: number;
  isvSvn: number;
  reportData: Uint8Array;
}

/** `bytes` has 384 bytes, as the quote parser cuts it. */
export function parseQeReport(bytes: Uint8Array): QeReport {
  const uint16 = (at: number): number => bytes[at]! + 256 * bytes[at + 1]!;
  return {
    miscSelect: bytes.subarray(16, 20),
    attributes: bytes.subarray(48, 64),
    mrSigner: bytes.subarray(128, 160),
    isvProdId: uint16(256),
    isvSvn: uint16(258),
    reportData: bytes.subarray(320, 384),
  };
}
