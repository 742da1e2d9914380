/**
 * The XML in which NVIDIA writes reference measurements: a subset of XML 1.0 with Namespaces in which little can be
 * written in two ways. No declaration, DTD, entity, comment, CDATA or processing instruction; one space before each
 * attribute, double quotes, no `&`, `<` or `>` in text; no carriage return, no `xml:` attribute, no namespace that is unset
 * again. What a text says is then what stands there (XML 1.0 sections 2.11 and 3.3.3 have nothing to normalise), Canonical
 * XML 1.1 and 1.0 are the same (c14n.ts), and what a real RIM never has cannot hide anything.
 */
import { malformed } from '../formats/bytes.ts';

export interface XmlElement {
  /** As written, `prefix:local`. */
  qname: string;
  local: string;
  /** Namespace; empty for none. */
  uri: string;
  attributes: readonly XmlAttribute[];
  /** Namespaces declared here, by prefix; the default one by ''. */
  declared: ReadonlyMap<string, string>;
  children: readonly (XmlElement | string)[];
}

export interface XmlAttribute {
  qname: string;
  local: string;
  uri: string;
  value: string;
}

// Limits, several times what real files have (in brackets). Without the last two, work would grow with the square of the size.
export const XML_CHARS = 64 * 1024; // [26 kB]
const MAX_DEPTH = 16; // [6]
const MAX_ATTRIBUTES = 96; // of an element, namespaces included [14]
const MAX_NAMESPACES = 32; // in scope at once [5]

/** Throws MalformedError. Line feeds after the root element are allowed: files end with one or two. */
export function parseXml(xml: string): XmlElement {
  if (xml.length > XML_CHARS) malformed(`XML of more than ${XML_CHARS} characters`);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: XML 1.0 section 2.2 forbids these; a tab and U+007F are not needed
  if (!xml.isWellFormed() || /[\0-\x09\x0b-\x1f\x7f\ufffe\uffff]/.test(xml)) malformed('XML: control character');
  const reader = new XmlReader(xml.replace(/\n{1,2}$/, ''));
  const root = reader.element(new Map(), 0);
  reader.end();
  return root;
}

/** Absolute, as Canonical XML demands; ASCII. */
const NAMESPACE = /^[A-Za-z][A-Za-z\d+.-]*:[!-~]*$/;
/** Bound to `xml` and `xmlns` (Namespaces in XML section 3); no other prefix may have them, and these two are not used. */
const RESERVED = ['http://www.w3.org/XML/1998/namespace', 'http://www.w3.org/2000/xmlns/'];
// ASCII of Name (section 2.3); real files use no others.
const OPEN = /<((?:[A-Za-z_][\w.-]*:)?[A-Za-z_][\w.-]*)/y;
const ATTRIBUTE = / ((?:[A-Za-z_][\w.-]*:)?[A-Za-z_][\w.-]*)="([^"&<>\n]*)"/y;
const TEXT = /[^<>&]*/y;

class XmlReader {
  readonly #xml: string;
  #at = 0;

  constructor(xml: string) {
    this.#xml = xml;
  }

  end(): void {
    if (this.#at !== this.#xml.length) malformed('XML: something follows the root element');
  }

  element(inherited: ReadonlyMap<string, string>, depth: number): XmlElement {
    if (depth > MAX_DEPTH) malformed('XML: nested too deeply');
    const qname = this.#match(OPEN)?.[1] ?? malformed('XML: an element is expected');
    const { declared, plain } = this.#attributes();
    const scope = declared.size > 0 ? new Map([...inherited, ...declared]) : inherited;
    if (scope.size > MAX_NAMESPACES) malformed('XML: too many namespaces');
    const attributes = plain.map(({ qname, value }) => ({ ...nameOf(qname, scope, ''), value }));
    const expanded = attributes.map(({ uri, local }) => `${uri} ${local}`);
    if (new Set(expanded).size < expanded.length) malformed('XML: an attribute occurs twice');
    const children: (XmlElement | string)[] = [];
    if (!this.#skip('/>')) {
      if (!this.#skip('>')) malformed('XML: a tag does not end');
      for (;;) {
        const text = this.#match(TEXT)?.[0] ?? '';
        if (text) children.push(text);
        if (this.#skip(`</${qname}>`)) break;
        children.push(this.element(scope, depth + 1));
      }
    }
    return { ...nameOf(qname, scope, scope.get('') ?? ''), attributes, declared, children };
  }

  #attributes() {
    const declared = new Map<string, string>();
    const plain: { qname: string; value: string }[] = [];
    for (let found = this.#match(ATTRIBUTE); found; found = this.#match(ATTRIBUTE)) {
      const [, qname, value] = found as unknown as [string, string, string];
      if (plain.length + declared.size === MAX_ATTRIBUTES) malformed('XML: too many attributes');
      const prefix = qname === 'xmlns' ? '' : qname.startsWith('xmlns:') ? qname.slice(6) : null;
      if (prefix === null) plain.push({ qname, value });
      else if (declared.has(prefix) || prefix.startsWith('xml') || !NAMESPACE.test(value) || RESERVED.includes(value))
        malformed('XML: namespace declaration');
      else declared.set(prefix, value);
    }
    return { declared, plain };
  }

  #match(sticky: RegExp): RegExpExecArray | null {
    sticky.lastIndex = this.#at;
    const found = sticky.exec(this.#xml);
    if (found) this.#at += found[0].length;
    return found;
  }

  #skip(token: string): boolean {
    const found = this.#xml.startsWith(token, this.#at);
    if (found) this.#at += token.length;
    return found;
  }
}

function nameOf(qname: string, scope: ReadonlyMap<string, string>, unprefixed: string) {
  const [first, second] = qname.split(':') as [string, string?];
  if (second === undefined) return { qname, local: first, uri: unprefixed };
  const uri = scope.get(first) ?? malformed('XML: prefix is not declared, or reserved');
  return { qname, local: second, uri };
}

/** Throws MalformedError unless exactly one child has this name. */
export function onlyChild(parent: XmlElement, uri: string, local: string): XmlElement {
  const [only, ...more] = parent.children.filter(
    (child) => typeof child !== 'string' && child.uri === uri && child.local === local,
  ) as XmlElement[];
  return only && more.length === 0 ? only : malformed(`${parent.local} must have one ${local}`);
}

/** Throws MalformedError when there is none. */
export const attributeOf = ({ attributes, local }: XmlElement, name: string, uri = ''): string =>
  attributes.find((each) => each.local === name && each.uri === uri)?.value ?? malformed(`${local} has no ${name}`);

/** Throws MalformedError when there is anything but text. */
export const textOf = ({ children, local }: XmlElement): string =>
  children.map((child) => (typeof child === 'string' ? child : malformed(`${local} must be text`))).join('');
