/**
 * A gateway as a process of its own, to be killed. Prints its port.
 *
 *   node gateway-child.ts '{"trust":…,"dataDir":…}'
 */
import { startGateway } from '../src/index.ts';

const gateway = await startGateway({ host: '127.0.0.1', port: 0, ...JSON.parse(process.argv[2]!) });
process.stdout.write(`${gateway.port}\n`);
