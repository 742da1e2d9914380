/**
 * What the trust page's browser loads: the page's script, and the verifier itself as it stands in its source files,
 * with the types stripped (Node's own stripper, which leaves every line and column in its place) and no bundler
 * between, so that a reader can lay what is served beside the repository. The list is made once, at start: a path that
 * is not in it does not reach the disk.
 */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire, stripTypeScriptTypes } from 'node:module';
import { dirname, extname, join, posix, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface PageFile {
  text: string;
  contentType: string;
}

export interface PageFiles {
  /** By path. Each path holds a digest over all files, so that it always means the same bytes. */
  readonly files: ReadonlyMap<string, PageFile>;
  /** Paths for the page's head. */
  readonly script: string;
  readonly style: string;
  readonly icon: string;
}

export const PAGE_FILES_ROOT = '/trust/modules';

const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const [SCRIPT, STYLE, ICON] = [here('browser/main.ts'), here('trust.css'), here('icon.svg')];

const CONTENT_TYPES: Record<string, string> = {
  '.ts': 'text/javascript; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml; charset=utf-8',
};

/** The specifier of a static import or export, at the beginning of a line (in comments a `*` stands before it). */
const IMPORT =
  /^(import\s*(?:[\w$*{},\s]+\sfrom\s*)?|export\s*(?:\*(?:\s+as\s+[\w$]+)?|\{[\w$,\s]*\})\s*from\s*)(['"])([^'"]+)\2/gm;

/** Reads the page's files and, from import to import, every module behind them. Throws when one cannot be resolved. */
export function loadPageFiles(): PageFiles {
  const texts = new Map<string, string>();
  const waiting = [SCRIPT];
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    if (texts.has(file)) continue;
    const { text, imports } = readModule(file);
    texts.set(file, text);
    waiting.push(...imports);
  }
  for (const file of [STYLE, ICON]) texts.set(file, readFileSync(file, 'utf8'));
  const all = [...texts].map(([file, text]) => [nameOf(file), text] as const).sort(([a], [b]) => (a < b ? -1 : 1));
  const digest = createHash('sha256').update(JSON.stringify(all)).digest('hex').slice(0, 16);
  const pathOf = (name: string) => `${PAGE_FILES_ROOT}/${digest}/${name}`;
  return {
    files: new Map(
      all.map(([name, text]) => [pathOf(name), { text, contentType: CONTENT_TYPES[extname(name)]! }] as const),
    ),
    script: pathOf(nameOf(SCRIPT)),
    style: pathOf(nameOf(STYLE)),
    icon: pathOf(nameOf(ICON)),
  };
}

/** The module as a browser takes it, with relative specifiers only, and the files that it imports. */
function readModule(file: string): { text: string; imports: string[] } {
  const source = readFileSync(file, 'utf8');
  const imports: string[] = [];
  const text = (extname(file) === '.ts' ? stripTypes(source) : source).replaceAll(
    IMPORT,
    (_, before: string, quote: string, specifier: string) => {
      const target = createRequire(file).resolve(specifier);
      imports.push(target);
      return `${before}${quote}${relativeUrl(nameOf(file), nameOf(target))}${quote}`;
    },
  );
  return { text, imports };
}

/**
 * Node's stripper is what runs this server, and warns once that as a function it is new: that is no news for an
 * operator.
 */
function stripTypes(source: string): string {
  const { emitWarning } = process;
  process.emitWarning = () => {};
  try {
    return stripTypeScriptTypes(source, { mode: 'strip' });
  } finally {
    process.emitWarning = emitWarning;
  }
}

function relativeUrl(from: string, to: string): string {
  const path = posix.relative(posix.dirname(from), to);
  return path.startsWith('.') ? path : `./${path}`;
}

/** `@noble/hashes/sha2.js`: the package, and the path in it. */
function nameOf(file: string): string {
  let directory = dirname(file);
  while (!existsSync(join(directory, 'package.json'))) directory = dirname(directory);
  const { name } = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as { name: string };
  return posix.join(name, relative(directory, file).replaceAll('\\', '/'));
}
