/** Every way in which a guest agent can fail ends in AGENT_UNAVAILABLE, in bounded time, and without what it wrote. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { inspect } from 'node:util';
import { type GuestAgent, openGuestAgent } from '../../src/tee/agent-client.ts';
import { httpAgent, listen, rawAgent, scratch, unavailable } from './fake-agent.ts';

const CANARY = 'c0ffee-canary-of-a-key';
const REPORT_DATA = Buffer.alloc(64, 7);
const CALLS: Record<string, (agent: GuestAgent) => Promise<unknown>> = {
  info: (agent) => agent.info(),
  version: (agent) => agent.version(),
  getKey: (agent) => agent.getKey('x'),
  getQuote: (agent) => agent.getQuote(REPORT_DATA),
  getTlsKey: (agent) => agent.getTlsKey({ subject: 'x', altNames: [] }),
  gpuInfo: (agent) => agent.gpuInfo(),
  gpuEvidence: (agent) => agent.gpuEvidence(Buffer.alloc(32)),
};
const HEAD = 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n';
const VERSION = { version: '0.6', rev: 'ἄβατον \u{1f3db}' };
const BODY = Buffer.from(JSON.stringify(VERSION));

suite('time', () => {
  test('a silent agent', async (t) => {
    await assert.rejects((await rawAgent(t, () => {}, 100)).version(), unavailable(/no whole answer within 100 ms/));
  });

  test('an answer that drips for ever, however often it drips', async (t) => {
    const drip = (to: Socket) => {
      to.write(`${HEAD}content-length: 1000000\r\n\r\n{`);
      const timer = setInterval(() => to.write(' '), 5);
      to.on('close', () => clearInterval(timer));
    };
    await assert.rejects((await rawAgent(t, drip, 200)).version(), unavailable(/no whole answer within 200 ms/));
  });

  test('a head that never ends', async (t) => {
    const agent = await rawAgent(t, (to) => to.write('HTTP/1.1 200 OK\r\n'), 100);
    await assert.rejects(agent.version(), unavailable(/no whole answer within 100 ms/));
  });
});

suite('form', () => {
  const chunked = (body: Buffer, size: number): string => {
    const pieces = Array.from({ length: Math.ceil(body.length / size) }, (_, i) =>
      body.subarray(i * size, i * size + size),
    );
    return pieces.map((piece) => `${piece.length.toString(16)}\r\n${piece.toString('latin1')}\r\n`).join('');
  };

  test('with a length, in chunks that cut characters, or until the connection closes: all are read', async (t) => {
    const heads = [
      `content-length: ${BODY.length}\r\n\r\n${BODY.toString('latin1')}`,
      `transfer-encoding: chunked\r\n\r\n${chunked(BODY, 1)}0\r\n\r\n`,
      `connection: close\r\n\r\n${BODY.toString('latin1')}`,
    ];
    for (const head of heads) {
      const agent = await rawAgent(t, (to) => to.end(HEAD + head, 'latin1'));
      assert.deepEqual(await agent.version(), VERSION, head);
    }
  });

  test('cut off in the middle', async (t) => {
    const cut = [
      `content-length: ${BODY.length + 1}\r\n\r\n${BODY.toString('latin1')}`,
      `transfer-encoding: chunked\r\n\r\n${chunked(BODY, 8)}`,
    ];
    for (const head of cut) {
      const agent = await rawAgent(t, (to) => to.end(HEAD + head, 'latin1'));
      await assert.rejects(agent.version(), unavailable(/the answer was cut off/), head);
    }
    const half = await rawAgent(t, (to) => to.end(`${HEAD}connection: close\r\n\r\n{"version":"0.6"`));
    await assert.rejects(half.version(), unavailable(/the answer is not JSON/));
    await assert.rejects((await rawAgent(t, (to) => to.destroy())).version(), unavailable(/not reachable/));
  });

  test('endless, with and without a length', async (t) => {
    for (const head of ['content-length: 99999999999\r\n\r\n', 'connection: close\r\n\r\n']) {
      let sent = 0;
      const flood = (to: Socket) => {
        const more = () => {
          while (!to.destroyed && to.write(Buffer.alloc(65_536, 32))) sent += 65_536;
        };
        to.on('drain', more).write(HEAD + head);
        more();
      };
      await assert.rejects((await rawAgent(t, flood)).version(), unavailable(/larger than 4194304 bytes/));
      assert.ok(sent < 2 ** 24, `${sent} bytes taken`);
    }
  });

  test('not HTTP, not JSON, not UTF-8; what it wrote is nowhere in the error', async (t) => {
    const answers: [string, RegExp][] = [
      [`${CANARY}\r\n\r\n`, /not reachable/],
      [`${HEAD}connection: close\r\n\r\n{"key":"${CANARY}`, /not JSON/],
      [`${HEAD}connection: close\r\n\r\n${CANARY}`, /not JSON/],
      [`${HEAD}connection: close\r\n\r\n"\xff${CANARY}"`, /not JSON/],
      [`${HEAD}connection: close\r\n\r\n`, /not JSON/],
      [`${HEAD}connection: close\r\n\r\n{"key":"${CANARY}"}`, /malformed: key/],
    ];
    for (const [bytes, message] of answers) {
      const agent = await rawAgent(t, (to) => to.end(bytes, 'latin1'));
      const error = await agent.getKey('x').catch((error) => error);
      assert.throws(() => {
        throw error;
      }, unavailable(message));
      assert.doesNotMatch(inspect(error, { depth: 9, showHidden: true }), new RegExp(CANARY), bytes);
    }
  });

  test('JSON of other types', async (t) => {
    for (const answer of [null, 7, 'x', true, [], [{}], { unknown: 1 }]) {
      const agent = await httpAgent(t, (_, response) => response.end(JSON.stringify(answer)));
      for (const [name, call] of Object.entries(CALLS)) {
        if (name === 'gpuInfo' || name === 'gpuEvidence')
          if (!Array.isArray(answer) && typeof answer === 'object' && answer) {
            assert.equal(await call(agent), null); // protobuf leaves out a list that is empty
            continue;
          }
        await assert.rejects(call(agent), unavailable(/malformed/), `${name} ${JSON.stringify(answer)}`);
      }
    }
  });
});

suite('refusals', () => {
  test('an HTTP error says its status; its body, endless or not, is neither read nor repeated', async (t) => {
    for (const status of [300, 401, 403, 500, 502, 503]) {
      const agent = await httpAgent(t, (_, response) => {
        response.writeHead(status);
        const more = () => {
          while (!response.destroyed && response.write(CANARY.repeat(1000)));
        };
        response.on('drain', more);
        more();
      });
      for (const [name, call] of Object.entries(CALLS)) {
        const error = (await call(agent).catch((error) => error)) as { message: string; code: string };
        assert.match(error.message, new RegExp(`status ${status}`), name);
        assert.equal(error.code, 'AGENT_UNAVAILABLE');
        assert.doesNotMatch(inspect(error, { depth: 9, showHidden: true }), new RegExp(CANARY));
      }
    }
  });
});

suite('the socket', () => {
  test('that is none, or that nobody listens at', async (t) => {
    const dir = scratch(t);
    const file = join(dir, 'file');
    writeFileSync(file, 'x');
    await assert.rejects(openGuestAgent(file).version(), unavailable(/not reachable \((ECONNREFUSED|ENOTSOCK)\)/));
    await assert.rejects(openGuestAgent(join(dir, 'none')).version(), unavailable(/not reachable \(ENOENT\)/));
    await assert.rejects(openGuestAgent(dir).version(), unavailable(/not reachable/));
  });

  test('that appears later, and an agent that restarts between calls', async (t) => {
    const socket = join(scratch(t), 'dstack.sock');
    const agents = [openGuestAgent(socket), openGuestAgent(null, { sockets: [socket] })];
    for (const agent of agents) await assert.rejects(agent.version(), { code: 'AGENT_UNAVAILABLE' });
    for (const version of ['1', '2']) {
      const server = createServer((_, response) => response.end(JSON.stringify({ version, rev: '' })));
      await listen(t, server, socket);
      for (const agent of agents) assert.equal((await agent.version()).version, version);
      await new Promise((resolve) => server.close(resolve));
      for (const agent of agents) await assert.rejects(agent.version(), { code: 'AGENT_UNAVAILABLE' });
    }
  });
});
