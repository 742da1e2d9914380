/** The witness inside the gateway: it visits over the verified link, and trusts the log keys that the verified evidence names. */
import type { Link } from '../link.ts';
import type { Logger } from '../log.ts';
import { readWitnessKey } from './key-file.ts';
import { openLinkServer } from './log-server.ts';
import { type TrustedLogs, trustLogs } from './trusted-logs.ts';
import { openWitness } from './witness.ts';
import { startVisits, type VisitsState } from './witness-visits.ts';

export interface LinkWitnessOptions {
  link: Link;
  keyFile: string;
  /** Holds what it remembers. */
  dir: string;
  /** This witness has never cosigned, and begins here. */
  isNew: boolean;
  logger: Logger;
}

export interface LinkWitness {
  state(): VisitsState;
  /** Close the link first. */
  stop(): Promise<void>;
}

/** Throws WITNESS_KEY_INVALID, WITNESS_STATE_INVALID, WITNESS_IN_USE, and what the disk says. */
export async function startLinkWitness({ link, keyFile, ...rest }: LinkWitnessOptions): Promise<LinkWitness> {
  const signers = await readWitnessKey(keyFile);
  let logs: TrustedLogs = trustLogs([]);
  const witness = await openWitness({ ...rest, signers, logs: () => logs });
  const server = openLinkServer(link, ({ evidence }) => {
    logs = trustLogs(evidence.reportData.auditLogVkeys);
  });
  const visits = startVisits({ witness, server, logger: rest.logger });
  return {
    state: visits.state,
    async stop() {
      await visits.stop();
      await witness.close();
    },
  };
}
