/** Runs where a model runs, and tries to get out. Prints, per target, 'open' or the code of the error. */
import { readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import type { ProbeTargets } from './isolation.ts';

const targets: ProbeTargets = JSON.parse(process.argv[2] ?? '');
const report: Record<string, string> = {};

const attempt = (act: () => void): string => {
  try {
    act();
    return 'open';
  } catch (error) {
    return codeOf(error);
  }
};
const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? 'ERROR';

for (const path of targets.read ?? []) report[`read ${path}`] = attempt(() => readFileSync(path));
for (const path of targets.write ?? []) report[`write ${path}`] = attempt(() => writeFileSync(path, 'x'));
for (const target of targets.connect) {
  report[`connect ${JSON.stringify(target)}`] = await new Promise((resolve) => {
    const socket = connect(target, () => resolve('open'));
    socket.on('error', (error) => resolve(codeOf(error)));
    socket.setTimeout(1000, () => resolve('ETIMEDOUT'));
  });
}
process.stdout.write(JSON.stringify(report), () => process.exit());
