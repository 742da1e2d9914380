/**
 * The script of the trust page: verifies at once, again when asked, and by the visitor's own policy when given one. It
 * runs @abaton/verify as it stands in the repository; nothing is stored, and nothing leaves the page but the number.
 */
import { AbatonError } from '@abaton/verify';
import { renderCheck, tallyOf } from './checks-list.ts';
import { type Demands, readDemands } from './demands.ts';
import { byId, element, terms } from './dom.ts';
import { type Outcome, outcomeOf } from './outcome.ts';
import { type Finding, verifyHere } from './verification.ts';

const policyField = byId<HTMLTextAreaElement>('policy');
const rootField = byId<HTMLInputElement>('root');
const fileField = byId<HTMLInputElement>('policy-file');
const buttons = [byId<HTMLButtonElement>('again'), byId<HTMLButtonElement>('judge')];

/** The demands that count: those last judged by, not what is being typed. */
let demands = readDemands('', '');

function show({ kind, headline, reason, meanings }: Omit<Outcome, 'kind'> & { kind: string }): void {
  byId('outcome').dataset.outcome = kind;
  byId('headline').textContent = headline;
  byId('reason').textContent = reason;
  byId('meanings').replaceChildren(...meanings.map((meaning) => element('li', {}, meaning)));
}

function showFacts({ nonce, verdict }: Finding): void {
  const { teeType, trust, codeHash, tcbStatus, evidenceId, checks } = verdict;
  byId('facts').replaceChildren(
    ...terms([
      ['Platform', teeType ? `${teeType}, root: ${trust}` : 'not established'],
      ['Code', codeHash ?? 'not established'],
      ['Updates', tcbStatus ?? 'not established'],
      ['Evidence', evidenceId ?? 'none'],
      ['Your number', nonce],
      ['Judged at', new Date().toISOString()],
    ]),
  );
  byId('checks').replaceChildren(...checks.map(renderCheck));
  byId('tally').textContent = tallyOf(checks);
  if (trust === 'simulated') byId('simulated').hidden = false;
}

let busy = false;

/** Not `disabled`, which would take the focus away from who has pressed it. */
function setBusy(now: boolean): void {
  busy = now;
  for (const button of buttons) button.ariaDisabled = String(now);
}

async function verify(): Promise<void> {
  setBusy(true);
  show({ kind: 'asking', headline: 'Asking for fresh evidence …', reason: '', meanings: [] });
  try {
    const finding = await verifyHere(demands);
    showFacts(finding);
    show(outcomeOf(finding, demands));
  } catch (error) {
    const code = error instanceof AbatonError ? error.code : 'INTERNAL';
    byId('facts').replaceChildren();
    byId('checks').replaceChildren();
    byId('tally').textContent = '';
    const reason = 'Without evidence there is nothing to judge. Ask again in a moment, and send nothing until then.';
    show({ kind: 'refused', headline: `No verdict: ${code}`, reason, meanings: [] });
  } finally {
    setBusy(false);
  }
}

async function judgeByForm(): Promise<void> {
  const error = byId('demands-error');
  error.textContent = '';
  let given: Demands;
  try {
    given = readDemands(policyField.value, rootField.value);
  } catch (thrown) {
    error.textContent = thrown instanceof AbatonError ? thrown.message : 'This cannot be read.';
    return;
  }
  demands = given;
  byId('pinned').dataset.pinned = String(given.pinned);
  await verify();
  byId('outcome').scrollIntoView({ block: 'nearest' });
}

const MAX_POLICY_BYTES = 1024 * 1024; // a policy is a page of text

async function takeFile(file: File | undefined): Promise<void> {
  if (!file) return;
  if (file.size > MAX_POLICY_BYTES) {
    byId('demands-error').textContent = 'The file is larger than a policy can be.';
    return;
  }
  policyField.value = await file.text();
}

byId('again').addEventListener('click', () => void (busy || verify()));
byId('judge').addEventListener('click', () => void (busy || judgeByForm()));
fileField.addEventListener('change', () => void takeFile(fileField.files?.[0]));
policyField.addEventListener('dragover', (event) => event.preventDefault());
policyField.addEventListener('drop', (event) => {
  const file = event.dataTransfer?.files[0];
  if (!file) return; // dragged text goes in by itself
  event.preventDefault();
  void takeFile(file);
});
void verify();
