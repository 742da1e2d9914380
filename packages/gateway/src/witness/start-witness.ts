/** A witness alone: `abaton witness`. For logs that come to it, for servers that it visits, or both. */
import type { Listener } from '../http/listen.ts';
import { createLogger } from '../log.ts';
import { readWitnessKey } from './key-file.ts';
import { openLogServer } from './log-server.ts';
import { trustLogs } from './trusted-logs.ts';
import { openWitness } from './witness.ts';
import { startWitnessService } from './witness-service.ts';
import { startVisits } from './witness-visits.ts';

export interface WitnessOptions {
  keyFile: string;
  /** Holds what it remembers. One witness uses it at a time. */
  dataDir: string;
  /** This witness has never cosigned, and begins here. */
  isNew: boolean;
  /** C2SP verifier keys of the logs. */
  logs: readonly string[];
  /** Where logs come to it; null: nowhere. Without `tls` only 127.0.0.0/8 and ::1. */
  listen: { host: string; port: number; tls: { cert: string; key: string } | null } | null;
  /** https: addresses of servers to visit. */
  urls: readonly string[];
  /** Takes one line. Default: standard error. */
  log?: (line: string) => void;
}

export interface RunningWitness {
  /** C2SP verifier keys of the witness. */
  vkeys: readonly string[];
  /** Null: it does not listen. */
  port: number | null;
  /** Ends what is under way. */
  close(): Promise<void>;
}

/**
 * Throws VKEY_INVALID, URL_INVALID, WITNESS_KEY_INVALID, WITNESS_STATE_INVALID, WITNESS_IN_USE, LISTEN_REFUSED, and what the
 * disk says.
 */
export async function startWitness(options: WitnessOptions): Promise<RunningWitness> {
  const logger = createLogger(options.log ?? ((line) => process.stderr.write(line)));
  const logs = trustLogs(options.logs);
  const servers = options.urls.map(openLogServer);
  const signers = await readWitnessKey(options.keyFile);
  const { dataDir: dir, isNew } = options;
  const witness = await openWitness({ signers, dir, isNew, logs: () => logs, logger });
  let listener: Listener | null = null;
  try {
    if (options.listen) listener = await startWitnessService({ witness, logger, ...options.listen });
  } catch (error) {
    await witness.close();
    throw error;
  }
  const visits = servers.map((server) => startVisits({ witness, server, logger }));
  return {
    vkeys: witness.vkeys,
    port: listener?.port ?? null,
    async close() {
      await Promise.all(visits.map((each) => each.stop()));
      await listener?.close();
      await witness.close();
    },
  };
}
