/**
 * Text of a data set: Specific Character Set (0008,0005), PS3.3 section C.12.1.1.2, with ISO 2022 code extensions.
 * Never throws: what cannot be decoded becomes U+FFFD. Decode the whole value before splitting it at backslashes:
 * the second byte of a Japanese or Chinese character may be 5C.
 */

/** Defined terms without code extensions: Tables C.12-2 and C.12-5. Labels are those of the WHATWG Encoding Standard. */
const LABELS: Record<string, string> = {
  'ISO_IR 100': 'iso-8859-1',
  'ISO_IR 101': 'iso-8859-2',
  'ISO_IR 109': 'iso-8859-3',
  'ISO_IR 110': 'iso-8859-4',
  'ISO_IR 144': 'iso-8859-5',
  'ISO_IR 127': 'iso-8859-6',
  'ISO_IR 126': 'iso-8859-7',
  'ISO_IR 138': 'iso-8859-8',
  'ISO_IR 148': 'iso-8859-9',
  'ISO_IR 203': 'iso-8859-15',
  'ISO_IR 13': 'shift_jis',
  'ISO_IR 166': 'windows-874',
  'ISO_IR 192': 'utf-8',
  GB18030: 'gb18030',
  GBK: 'gbk',
};

/** Escape sequences after ESC: Tables C.12-3 and C.12-4. `bits7` sets are shifted into G1, where the decoder expects them. */
const ESCAPES: Record<string, { label: string; bits7?: true; prefix?: number }> = {
  '(J': { label: 'shift_jis' },
  ')I': { label: 'shift_jis' },
  $B: { label: 'euc-jp', bits7: true },
  '$(D': { label: 'euc-jp', bits7: true, prefix: 0x8f },
  '$)C': { label: 'euc-kr' },
  '$)A': { label: 'gbk' },
  '-A': { label: 'iso-8859-1' },
  '-B': { label: 'iso-8859-2' },
  '-C': { label: 'iso-8859-3' },
  '-D': { label: 'iso-8859-4' },
  '-L': { label: 'iso-8859-5' },
  '-G': { label: 'iso-8859-6' },
  '-F': { label: 'iso-8859-7' },
  '-H': { label: 'iso-8859-8' },
  '-M': { label: 'iso-8859-9' },
  '-b': { label: 'iso-8859-15' },
  '-T': { label: 'windows-874' },
};

const ESC = 0x1b;

/** An unknown or missing term means ASCII; utf-8 decodes that, and marks every other byte. */
const labelOf = (term = ''): string => {
  const name = term.replace('ISO 2022 IR', 'ISO_IR');
  return Object.hasOwn(LABELS, name) ? LABELS[name]! : 'utf-8'; // `constructor` is no character set
};

/** `terms`: the values of Specific Character Set, in order; [] for the default repertoire. */
export function decodeText(bytes: Uint8Array, terms: readonly string[]): string {
  const initial = new TextDecoder(labelOf(terms[0]));
  if (terms.length < 2 || !bytes.includes(ESC)) return initial.decode(bytes);

  let out = '';
  for (let start = 0, at = 0; start < bytes.length; start = at) {
    at = bytes.indexOf(ESC, start + 1);
    if (at < 0) at = bytes.length;
    const run = bytes.subarray(start, at);
    if (run[0] !== ESC) out += initial.decode(run);
    else {
      const name = [2, 3].map((n) => String.fromCharCode(...run.subarray(1, 1 + n)));
      const key = name.find((n) => Object.hasOwn(ESCAPES, n));
      // ESC ( B designates ASCII in G0; what is above 7F then belongs to the first set again.
      if (key === undefined) out += initial.decode(run.subarray(name[0] === '(B' ? 3 : 1));
      else out += decodeRun(run.subarray(1 + key.length), ESCAPES[key]!);
    }
  }
  return out;
}

function decodeRun(
  run: Uint8Array,
  { label, bits7, prefix }: { label: string; bits7?: true; prefix?: number },
): string {
  if (!bits7) return new TextDecoder(label).decode(run);
  const shifted: number[] = [];
  for (let i = 0; i < run.length; ) {
    const pair = run[i]! > 0x20 && i + 1 < run.length;
    if (pair && prefix !== undefined) shifted.push(prefix);
    shifted.push(pair ? run[i++]! | 0x80 : run[i++]!);
    if (pair) shifted.push(run[i++]! | 0x80);
  }
  return new TextDecoder(label).decode(Uint8Array.from(shifted));
}
