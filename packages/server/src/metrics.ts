/**
 * Counts for the operator, in the Prometheus text exposition format 0.0.4. Label values are written by us (route
 * templates, codes), never taken from a request: a metric is outside the trust boundary.
 */

type Labels = Readonly<Record<string, string>>;

export interface Counter {
  add(labels?: Labels, amount?: number): void;
}

export interface Histogram {
  observe(value: number): void;
}

export interface Metrics {
  counter(name: string, help: string): Counter;
  /** `read` is called for each scrape. */
  gauge(name: string, help: string, read: () => number): void;
  /** Upper bounds in ascending order; +Inf is added. */
  histogram(name: string, help: string, bounds: readonly number[]): Histogram;
  text(): string;
}

// far above what routes × statuses need: if a label ever came from outside, memory would still be bounded
const MAX_SERIES = 512;

export function createMetrics(): Metrics {
  const writers: (() => string)[] = [];
  const family = (name: string, help: string, type: string, samples: () => string[]) => {
    writers.push(() => `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${samples().join('')}`);
  };
  return {
    counter(name, help) {
      const series = new Map<string, number>();
      family(name, help, 'counter', () => [...series].map(([labels, value]) => `${name}${labels} ${value}\n`));
      return {
        add(labels = {}, amount = 1) {
          const key = renderLabels(labels);
          if (series.has(key) || series.size < MAX_SERIES) series.set(key, (series.get(key) ?? 0) + amount);
        },
      };
    },
    gauge(name, help, read) {
      family(name, help, 'gauge', () => [`${name} ${read()}\n`]);
    },
    histogram(name, help, bounds) {
      const counts = bounds.map(() => 0);
      let count = 0;
      let sum = 0;
      family(name, help, 'histogram', () => [
        ...bounds.map((bound, i) => `${name}_bucket{le="${bound}"} ${counts[i]}\n`),
        `${name}_bucket{le="+Inf"} ${count}\n${name}_sum ${sum}\n${name}_count ${count}\n`,
      ]);
      return {
        observe(value) {
          count++;
          sum += value;
          bounds.forEach((bound, i) => {
            if (value <= bound) counts[i]!++;
          });
        },
      };
    },
    text: () => writers.map((write) => write()).join(''),
  };
}

function renderLabels(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${value.replace(/["\\\n]/g, '_')}"`);
  return pairs.length ? `{${pairs.join(',')}}` : '';
}
