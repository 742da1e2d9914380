/**
 * SHA-256 of the DER of AMD's root keys, from the key distribution service (kdsintf.amd.com, /vcek/v1/{product}/cert_chain).
 * Milan: "ARK-Milan", until 2045-10-22. The roots of Genoa and Turin are to be added by somebody who can compare them with
 * AMD's; until then their chains are untrusted, and are tested on synthetic ones.
 */
export const AMD_ROOTS_SHA256: readonly string[] = ['69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd'];
