/** Keys of sealed files (vault/sealed-file.ts): one for each purpose, which only this app gets, on attested platforms. */
import { errorOf } from '../errors.ts';
import type { GuestAgent } from './agent-client.ts';

/** 32 bytes, the same after a restart. `purpose`: kebab-case, such as `model-weights`. Throws AGENT_UNAVAILABLE. */
export async function deriveSealedFileKey(agent: Pick<GuestAgent, 'getKey'>, purpose: string): Promise<Uint8Array> {
  // a slash would begin the path of another key
  if (!/^[a-z][a-z0-9-]{0,63}$/.test(purpose))
    throw errorOf(
      'SETTING_INVALID',
      'The purpose of a sealed file must be a kebab-case word of at most 64 characters.',
    );
  return agent.getKey(`abaton/v1/sealed-file/${purpose}`);
}
