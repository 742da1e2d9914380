/**
 * Preloaded into a server (`--import`): its clocks run CLOCK_FACTOR times as fast, and so do timers of a minute and more. Shorter
 * ones guard input and output, whose time is real.
 */
const factor = Number(process.env.CLOCK_FACTOR);
const LONG_MS = 60_000;

const [RealDate, realPerformanceNow] = [Date, performance.now.bind(performance)];
const [wallBegan, monotonicBegan] = [RealDate.now(), realPerformanceNow()];
const wallMs = () => Math.floor(wallBegan + (RealDate.now() - wallBegan) * factor);

globalThis.Date = class extends RealDate {
  constructor(...args) {
    super(...(args.length === 0 ? [wallMs()] : args));
  }
  static now = wallMs;
};
performance.now = () => monotonicBegan + (realPerformanceNow() - monotonicBegan) * factor;

for (const name of ['setTimeout', 'setInterval']) {
  const real = globalThis[name];
  globalThis[name] = (work, ms = 0, ...args) => real(work, ms >= LONG_MS ? ms / factor : ms, ...args);
}
