/** The TLS exporter of the connection that asks (RFC 8446 section 7.5): evidence that names it cannot be relayed to another. */
import { createHash } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { TLS_EXPORTER } from '@abaton/verify';
import type { Incoming } from './bridge.ts';

/** SHA-256, hex; `nonce`: 64 hex digits. Null where the connection has ended meanwhile. */
export function tlsExporterSha256(incoming: Incoming, nonce: string): string | null {
  const socket = ('stream' in incoming ? incoming.stream.session?.socket : incoming.socket) as TLSSocket | undefined;
  if (!socket || socket.destroyed) return null;
  const { bytes, label } = TLS_EXPORTER;
  const material = socket.exportKeyingMaterial(bytes, label, Buffer.from(nonce, 'hex'));
  return createHash('sha256').update(material).digest('hex');
}
