/** The operator's log and metrics take declared fields only (I2). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLogger, type LogFields, placeOf } from '../../src/log.ts';
import { createMetrics } from '../../src/metrics.ts';

function logOnce(fields: LogFields): Record<string, unknown> {
  let line = '';
  createLogger((text) => {
    line += text;
  }).info('event', fields);
  assert.match(line, /^\{.*\}\n$/);
  return JSON.parse(line);
}

test('declared fields pass in their form', () => {
  const { time, ...line } = logOnce({ status: 200, route: '/a/:id', open: true, codes: ['A', 'B'], code: null });
  assert.match(String(time), /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  assert.deepEqual(line, {
    level: 'info',
    event: 'event',
    status: 200,
    route: '/a/:id',
    open: true,
    codes: ['A', 'B'],
  });
});

test('an undeclared field is dropped, and a value of another form is replaced', () => {
  // @ts-expect-error patientName is not declared
  assert.equal('patientName' in logOnce({ patientName: 'DOE' }), false);
  const forged = {
    status: 'DOE',
    code: 'Jane Doe',
    codes: ['Jane Doe'],
    open: { name: 'DOE' },
    route: '/a?b',
    constructor: 'x',
  };
  const { time, ...line } = logOnce(forged as never);
  assert.deepEqual(line, { level: 'info', event: 'event', status: '?', code: '?', codes: '?', open: '?', route: '?' });
  assert.equal(logOnce({ code: 'x'.repeat(129) }).code, '?');
});

test('of an error only the place is taken, whatever its message looks like', () => {
  assert.match(placeOf(new Error('DOE^JANE')), /^packages\/server\/test\/http\/operator-log\.test\.ts:\d+:\d+$/);
  const forged = new Error('x\n    at DOE (file:///packages/DOE/JANE.ts:1:1)');
  assert.doesNotMatch(placeOf(forged), /JANE/);
  assert.equal(placeOf('DOE^JANE'), 'unknown');
});

test('counters, gauges and histograms in the Prometheus text format 0.0.4', () => {
  const metrics = createMetrics();
  const counter = metrics.counter('jobs_total', 'Jobs.');
  counter.add({ kind: 'a' });
  counter.add({ kind: 'a' }, 2);
  counter.add({ kind: 'b"\n' });
  metrics.gauge('depth', 'Depth.', () => 7);
  const histogram = metrics.histogram('seconds', 'Time.', [0.1, 1]);
  for (const value of [0.05, 0.5, 5]) histogram.observe(value);
  assert.equal(
    metrics.text(),
    `# HELP jobs_total Jobs.
# TYPE jobs_total counter
jobs_total{kind="a"} 3
jobs_total{kind="b__"} 1
# HELP depth Depth.
# TYPE depth gauge
depth 7
# HELP seconds Time.
# TYPE seconds histogram
seconds_bucket{le="0.1"} 1
seconds_bucket{le="1"} 2
seconds_bucket{le="+Inf"} 3
seconds_sum 5.55
seconds_count 3
`,
  );
});

test('series are bounded, whatever becomes a label', () => {
  const metrics = createMetrics();
  const counter = metrics.counter('x_total', 'X.');
  for (let i = 0; i < 2000; i++) counter.add({ from: `${i}` });
  assert.equal(metrics.text().split('\n').length, 2 + 512 + 1);
});
