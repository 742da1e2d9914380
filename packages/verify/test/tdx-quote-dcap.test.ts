/**
 * Real TDX quotes with Intel's real collateral, at fixed times within its validity. Verdicts agree with
 * @phala/dcap-qvl where both accept; what that library (0.3.9) lets through is refused here.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Evidence, parsePolicy, parseTdxQuote, readQuotePlatform, type TdxCollateral, type VerificationCode, verifyEvidence } from '../src/index.ts';
import { failures, statusOf } from './support/judge.ts';
import {
  ...
} from './support/shared-data.ts';
