/** Small facts of the server itself that outlive a restart and belong to no patient, sealed under the TEE key. */
import type { Queries } from './db.ts';
import { deriveKey, openEnvelope, sealEnvelope } from './envelope.ts';
import { requireSecret } from './keys.ts';

export interface SealedState {
  /** Null when nothing has that name. Throws SEAL_BROKEN when it was changed, or belongs to another name. */
  get(q: Queries, name: string): Promise<Uint8Array | null>;
  /** Writes it inside the caller's transaction, or durably on return when `q` is the Db itself. */
  put(q: Queries, name: string, value: Uint8Array): Promise<void>;
}

export function createSealedState(teeKey: Uint8Array): SealedState {
  const key = deriveKey(requireSecret('The TEE key', teeKey), 'abaton/sealed-state/v1');
  return {
    async get(q, name) {
      const [row] = await q.query('select value from sealed_state where name = $1', [name]);
      return row ? openEnvelope(key, ['sealed-state', name], row.value as Uint8Array) : null;
    },
    async put(q, name, value) {
      await q.query(
        `insert into sealed_state (name, value) values ($1, $2)
         on conflict (name) do update set value = excluded.value`,
        [name, sealEnvelope(key, ['sealed-state', name], value)],
      );
    },
  };
}
