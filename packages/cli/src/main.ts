/** The `abaton` command. Each subcommand is one file; this one only names them. */
import { Command, CommanderError } from 'commander';
import { runAnalyze } from './analyze-command.ts';
import { runAuditKey, runAuditVerify } from './audit-command.ts';
import { runAuditAccount, runAuditExport } from './audit-order-command.ts';
import { flagOf } from './evidence-files.ts';
import { EXIT, exitCodeOf, jsonOfError, messageOf } from './exit.ts';
import { runGateway } from './gateway-command.ts';
import { runIncidentList, runIncidentResolve } from './incident-command.ts';
import {
  runKeyholder,
  runKeyholderExport,
  runKeyholderImport,
  runKeyholderKey,
  runKeyholderStatus,
} from './keyholder-command.ts';
import { runPolicyDiff, runPolicyKey, runPolicyShow, runPolicySign } from './policy-command.ts';
import { runServe } from './serve-command.ts';
import { addTrustOptions, repeated } from './trust-options.ts';
import { runVerify } from './verify-command.ts';
import { runWitness, runWitnessKey } from './witness-command.ts';

const program = new Command('abaton')
  .description('Medical AI inside a Trusted Execution Environment: verify first, then send.')
  .configureHelp({ showGlobalOptions: true })
  .exitOverride();

const run = (work: Promise<number>) =>
  work.then((code) => {
    process.exitCode = code;
  });

// A shell variable that is not set would otherwise leave a check out, without a word.
program.hook('preAction', (_, command) => {
  for (const [name, value] of Object.entries(command.opts()))
    if ([value].flat().includes('')) command.error(`error: option ${flagOf(name)} is empty`);
});

addTrustOptions(
  program
    .command('verify [url]')
    .description('say what may be sent to a server, and why; or whether evidence in files holds'),
)
  .option('--save <FILE>', 'keep the evidence of this service, as it came')
  .option('--evidence <FILE>', 'evidence that --save has kept')
  .option('--quote <FILE>', 'Intel TDX quote: binary, hex, or JSON: a list of bytes, or { quote: hex }')
  .option('--collateral <FILE>', 'its DCAP collateral, JSON')
  .option('--event-log <FILE>', "dstack's event log, or a document that carries it, JSON")
  .option('--app-compose <FILE>', 'the app-compose, exactly as it was deployed')
  .option('--snp-report <FILE>', 'AMD SEV-SNP report: binary or hex')
  .option('--certs <FILE>', 'VCEK or VLEK, its CA, and the root, PEM (several files: in this order)', repeated)
  .option('--crl <FILE>', "AMD's revocation list, DER")
  .option('--mr-config <FILE>', "dstack's MrConfigV3 document behind HOST_DATA")
  .option('--gpu-evidence <FILE>', "NVIDIA's evidence list, JSON")
  .option('--gpu-nonce <HEX>', 'the nonce that the GPUs were asked for')
  .option('--rim <FILE>', "NVIDIA's reference measurements, XML (several times)", repeated)
  .option('--ocsp <FILE>', 'OCSP response, DER (several times)', repeated)
  .option('--now <DATE>', 'judge files at this time, such as 2026-08-20T12:00:00Z')
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

const policy = program
  .command('policy')
  .description('what you demand of a server: keys of officers, their signatures, and what a policy means');
policy
  .command('key <file>')
  .description("make an officer's signing key; prints the verifier key for --officer")
  .requiredOption('--name <NAME>', 'name of the officer, without spaces')
  .action((file, flags) => run(Promise.try(() => runPolicyKey(file, flags))));
policy
  .command('sign <file>')
  .description('add a signature to a policy file')
  .requiredOption('--key <FILE>', "the officer's signing key")
  .requiredOption('--name <NAME>', 'name of the officer, as in the verifier key')
  .option('--fresh', 'drop the signatures of others: they are void once the text has changed')
  .action((file, flags) => run(Promise.try(() => runPolicySign(file, flags))));
policy
  .command('show <file>')
  .description('print a policy with its defaults, after checking its signatures')
  .option('--officer <VKEY>', 'must have signed it (several: each of them)', repeated)
  .option('--officers <N>', 'how many of the officers (default: all)')
  .action((file, flags) => run(Promise.try(() => runPolicyShow(file, flags))));

policy
  .command('diff <before> <after>')
  .description('what one policy allows or demands and another does not: + and - entries of lists, ~ other members')
  .option('--officer <VKEY>', 'must have signed both (several: each of them)', repeated)
  .option('--officers <N>', 'how many of the officers (default: all)')
  .option('--json', 'print one JSON object and nothing else')
  .action((before, after, flags) => run(Promise.try(() => runPolicyDiff(before, after, flags))));

const incident = program
  .command('incident')
  .description('what closed the door of a server, and how an officer opens it');
addTrustOptions(incident.command('list').description('verify, then print the incidents of a server'))
  .requiredOption('--url <URL>', 'the server, such as https://localhost:8443')
  .option('--json', 'print one JSON object and nothing else')
  .action((flags) => run(runIncidentList(flags)));
addTrustOptions(incident.command('resolve <id>').description('verify, then sign the root cause and end the incident'))
  .requiredOption('--url <URL>', 'the server, such as https://localhost:8443')
  .requiredOption('--cause <TEXT>', 'the root cause: one line without patient data, for the audit log')
  .requiredOption('--key <FILE>', "the officer's signing key")
  .requiredOption(
    '--name <NAME>',
    'name of the officer in the verifier key of the manifest: what stands before its first +',
  )
  .option('--json', 'print one JSON object and nothing else')
  .action((id, flags) => run(runIncidentResolve(id, flags)));

const audit = program.command('audit').description('transparency logs: ours, and any other of C2SP tlog-tiles');
audit
  .command('verify')
  .description('whether every entry and tile leads to the signed checkpoint; exit code 3 when not')
  .requiredOption('--log <DIR|URL>', 'where `checkpoint` and `tile/` lie')
  .requiredOption('--vkey <VKEY>', 'C2SP verifier key of the log (several: any of them)', repeated)
  .option('--origin <TEXT>', 'name of the log, where it is not the name of its key')
  .option('--from <FILE>', 'a checkpoint of before, which the log has to continue')
  .option('--json', 'print one JSON object and nothing else')
  .action((flags) => run(runAuditVerify(flags)));

audit
  .command('key')
  .description('print the verifier keys that lie beside a log of Abaton')
  .requiredOption('--log <DIR>', "the server's audit directory")
  .action((flags) => run(Promise.try(() => runAuditKey(flags))));

const addOfficerOptions = (command: Command): Command =>
  addTrustOptions(command)
    .requiredOption('--url <URL>', 'the server, such as https://localhost:8443')
    .requiredOption('--key <FILE>', "the officer's signing key")
    .requiredOption('--name <NAME>', 'name of the officer in the verifier key of the manifest')
    .option('--from <DATE>', 'first day or instant, such as 2026-08-20 (UTC)')
    .option('--to <DATE>', 'last day or instant')
    .option('--json', 'print one JSON object and nothing else');

addOfficerOptions(
  audit.command('account').description('verify, then print who received what of one patient (45 CFR 164.528)'),
)
  .requiredOption('--patient <ID>', 'Patient ID (0010,0020)')
  .option('--issuer <TEXT>', 'Issuer of Patient ID (0010,0021), where there is one')
  .action((flags) => run(runAuditAccount(flags)));

addOfficerOptions(audit.command('export').description('verify, then write the log to a file, patients as pseudonyms'))
  .requiredOption('--format <FORMAT>', 'fhir (ndjson of AuditEvent), dicom (audit messages of PS3.15, XML) or csv')
  .requiredOption('--out <FILE>', 'where to')
  .action((flags) => run(runAuditExport(flags)));

addTrustOptions(
  program
    .command('gateway')
    .description("run the hospital's end: a loopback door that forwards while the server is verified, and queues else"),
)
  .requiredOption('--url <URL>', 'the server, such as https://abaton.example')
  .requiredOption('--data-dir <DIR>', 'where uploads wait, encrypted, and the key to them')
  .option('--listen <ADDRESS>', 'IP address and port', '127.0.0.1:8042')
  .option('--interval <TIME>', 'between two verifications, such as 60s (default: 5m, which is also the most)')
  .option('--max-queue-bytes <N>', 'bytes that may wait at most (default: 20 GiB, 21474836480)')
  .option('--tls-cert <FILE>', 'certificate chain, PEM: needed for an address other than loopback')
  .option('--tls-key <FILE>', 'its key, PEM')
  .option('--witness-key <FILE>', "also cosign the server's audit log, with this key of abaton witness key")
  .option('--witness-new', 'this witness has never cosigned: begin, the first time')
  .option('--keyholder-dir <DIR>', "be the keyholder, too: where the shares of the server's keys are")
  .option('--keyholder-key <FILE>', 'the key to them, best on other media: abaton keyholder key')
  .option('--keyholder-subject <SUBJECT>', 'whose shares they are (default: the first that asks)')
  .action((flags) => run(runGateway(flags)));

const witness = program
  .command('witness')
  .description('cosign transparency logs (C2SP tlog-witness) while they only grow, so that nobody shortens them unseen')
  .option('--key <FILE>', 'key of this witness, of abaton witness key')
  .option('--data-dir <DIR>', 'what it remembers of the logs: it refuses to start without')
  .option('--log <VKEY>', 'C2SP verifier key of a log (several: any of them)', repeated)
  .option('--listen <ADDRESS>', 'IP address and port where logs come to it, such as 127.0.0.1:8045')
  .option('--tls-cert <FILE>', 'certificate chain, PEM: needed for an address other than loopback')
  .option('--tls-key <FILE>', 'its key, PEM')
  .option('--url <URL>', 'a server to visit, such as https://abaton.example (several: each of them)', repeated)
  .option('--new', 'this witness has never cosigned: begin, the first time')
  .action((flags) => run(runWitness(flags)));
witness
  .command('key <file>')
  .description('make the key of a witness; prints its verifier keys')
  .requiredOption('--name <NAME>', 'a schema-less URL, such as hospital.example/witness')
  .action((file, flags) => run(runWitnessKey(file, flags)));

const keyholder = program
  .command('keyholder')
  .description("the customer's shares of the server's keys: given to what officers admit, destroyed when told");
const addPlaceOptions = (command: Command): Command =>
  command
    .requiredOption('--dir <DIR>', 'where the shares are')
    .requiredOption('--key <FILE>', 'the key to them, best on other media');
addTrustOptions(addPlaceOptions(keyholder.command('run', { isDefault: true }).description('run it (the default)')))
  .requiredOption('--url <URL>', 'the server, such as https://abaton.example')
  .option('--subject <SUBJECT>', 'whose shares they are (default: the first that asks)')
  .action((flags) => run(runKeyholder(flags)));
keyholder
  .command('key <file>')
  .description('make its keys; prints the verifier key for the manifest')
  .requiredOption('--name <NAME>', 'name of the keyholder, without spaces')
  .action((file, flags) => run(runKeyholderKey(file, flags)));
keyholder
  .command('status')
  .description('print the epochs and whether their shares are held or destroyed')
  .requiredOption('--dir <DIR>', 'where the shares are')
  .option('--json', 'print one JSON object and nothing else')
  .action((flags) => run(runKeyholderStatus(flags)));
const PASSPHRASE = [
  '--passphrase-file <FILE>',
  'its passphrase, 15 characters at least; - for standard input',
] as const;
addPlaceOptions(keyholder.command('export').description('write an escrow copy: who loses the shares loses everything'))
  .requiredOption('--to <FILE>', 'the copy')
  .requiredOption(...PASSPHRASE)
  .action((flags) => run(runKeyholderExport(flags)));
addPlaceOptions(keyholder.command('import').description('make folder and key from an escrow copy, after a loss'))
  .requiredOption('--from <FILE>', 'the copy')
  .requiredOption(...PASSPHRASE)
  .action((flags) => run(runKeyholderImport(flags)));

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
