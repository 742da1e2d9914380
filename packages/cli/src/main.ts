/** The `abaton` command. Each subcommand is one file; this one only names them. */
import { Command, CommanderError } from 'commander';
import { runAnalyze } from './analyze-command.ts';
import { EXIT, exitCodeOf, jsonOfError, messageOf } from './exit.ts';
import { runServe } from './serve-command.ts';
import { addTrustOptions } from './trust-options.ts';
import { runVerify } from './verify-command.ts';

const program = new Command('abaton')
  .description('Medical AI inside a Trusted Execution Environment: verify first, then send.')
  .configureHelp({ showGlobalOptions: true })
  .exitOverride();

const run = (work: Promise<number>) =>
  work.then((code) => {
    process.exitCode = code;
  });

addTrustOptions(program.command('verify <url>').description('say what may be sent to a server, and why'))
  .option('--json', 'print one JSON object and nothing else')
  .action((url, flags) => run(runVerify(url, flags)));

addTrustOptions(
  program
    .command('analyze <path...>')
    .description('verify, then send DICOM files or folders, and print findings with proof'),
)
  .requiredOption('--url <URL>', 'the server, such as https://localhost:8443')
  .option('--json', 'print one JSON object and nothing else')
  .action((paths, flags) => run(runAnalyze(paths, flags)));

program
  .command('serve')
  .description('run the server (settings: docs/reference/config.md)')
  .action(() => run(runServe()));

try {
  await program.parseAsync();
} catch (error) {
  const shown = error instanceof CommanderError; // commander has written its help or its complaint
  const asked = shown && error.exitCode === 0;
  process.exitCode = asked ? EXIT.ok : shown ? EXIT.usage : exitCodeOf(error);
  if (process.argv.includes('--json') && !asked) process.stdout.write(`${JSON.stringify(jsonOfError(error))}\n`);
  else if (!shown) process.stderr.write(`${messageOf(error)}\n`);
}
