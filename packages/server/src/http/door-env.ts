/** What every route of the door finds in its context (Hono's generic parameter). */
import type { DoorBindings } from './bridge.ts';

export interface DoorEnv {
  Bindings: DoorBindings;
  /** Drawn by us for each request. */
  Variables: { requestId: string };
}
