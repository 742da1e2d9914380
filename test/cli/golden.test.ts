/**
 * The command as people type it: each `*.script` beside this file is documentation and test in one, run against one real
 * software TEE and server.
 *
 *   # a comment
 *   $ abaton verify {url} --code-hash x     {…} comes from `names` below; run as `node packages/cli/bin/abaton.mjs …`
 *   a line of stdout                        <hex> <uid> <n> <score> <text> stand for what differs from run to run
 *   ...                                     any lines
 *   ! a line of stderr
 *   exit 1
 *
 * With `--json` stdout must be one line, one JSON object that follows its schema in docs/reference.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { drawPhantom } from '../../packages/server/src/imaging/phantom.ts';
import { root, type Stack, startStack } from '../e2e/stack.ts';
import { errorsOf } from './json-schemas.ts';

interface Step {
  command: string;
  stdout: string[];
  stderr: string[];
  exit: number;
}

function parseScript(text: string): Step[] {
  const steps: Step[] = [];
  let step: Step | undefined;
  for (const line of text.split('\n')) {
    if (line.startsWith('$ ')) steps.push((step = { command: line.slice(2), stdout: [], stderr: [], exit: -1 }));
    else if (step && /^exit \d$/.test(line)) [step.exit, step] = [Number(line.slice(5)), undefined];
    else if (line.startsWith('! ')) step!.stderr.push(line.slice(2));
    else if (step) step.stdout.push(line);
    else assert.match(line, /^(#.*)?$/, 'only comments stand between commands');
  }
  return steps;
}

const PATTERNS: Record<string, string> = {
  hex: '[0-9a-f]+',
  uid: '[0-9.]{1,64}',
  n: '\\d+',
  score: '[01](?:\\.\\d+)?',
  text: '.*',
};

/** One pattern for all the lines, with the line of dots for any. */
const patternOf = (lines: string[]): RegExp =>
  new RegExp(
    `^${lines
      .map((line) =>
        line === '...'
          ? '(?:.*\\n)*?'
          : `${RegExp.escape(line).replace(/<(\w+)>/g, (_, name) => PATTERNS[name]!)}\\n`,
      )
      .join('')}$`,
  );

let stack: Stack;
const names: Record<string, string> = {};
