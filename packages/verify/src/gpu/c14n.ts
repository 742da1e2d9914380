/**
 * Canonical XML 1.1 (W3C, 2008), without comments, of documents that xml.ts reads. There it equals version 1.0: the two
 * differ in `xml:` attributes alone, which that reader refuses.
 */
import type { XmlElement } from './xml.ts';

/**
 * The text of an element and all that is in it but `without`. `inherited`: namespaces in scope above it, by prefix; as the
 * apex of what is signed it shows them (section 2.3, "Namespace Axis").
 */
export function canonicalizeXml(
  apex: XmlElement,
  { inherited = new Map(), without }: { inherited?: ReadonlyMap<string, string>; without?: XmlElement } = {},
): string {
  const write = (
    element: XmlElement,
    shown: ReadonlyMap<string, string>,
    above: ReadonlyMap<string, string>,
  ): string => {
    const scope = element.declared.size > 0 ? new Map([...above, ...element.declared]) : above;
    const namespaces = (scope === shown ? [] : [...scope])
      .filter(([prefix, uri]) => shown.get(prefix) !== uri)
      .sort(([a], [b]) => order(a, b))
      .map(([prefix, uri]) => ` xmlns${prefix && `:${prefix}`}="${uri}"`);
    const attributes = element.attributes
      .toSorted((a, b) => order(a.uri, b.uri) || order(a.local, b.local))
      .map(({ qname, value }) => ` ${qname}="${value}"`);
    const children = element.children
      .filter((child) => child !== without)
      .map((child) => (typeof child === 'string' ? child : write(child, scope, scope)));
    const { qname } = element;
    return `<${[qname, ...namespaces, ...attributes].join('')}>${children.join('')}</${qname}>`;
  };
  return write(apex, new Map(), inherited);
}

/** By code units. Names and namespaces are ASCII, so this is the order of code points that section 2.2 asks for. */
const order = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
