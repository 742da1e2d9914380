/** The few ways in which this page touches its document. Texts go in as text, never as markup. */

/** The element with that id; the page is served with all of them. */
export function byId<E extends HTMLElement = HTMLElement>(id: string): E {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no element ${id}`);
  return found as E;
}

/** `data`: data attributes, which the style sheet reads. */
export function element(
  tag: string,
  { className = '', data = {} }: { className?: string; data?: Record<string, string> },
  ...children: (Node | string)[]
): HTMLElement {
  const made = document.createElement(tag);
  if (className) made.className = className;
  Object.assign(made.dataset, data);
  made.append(...children);
  return made;
}

/** Terms and what they are, for a description list. */
export const terms = (rows: readonly (readonly [term: string, value: string])[]): HTMLElement[] =>
  rows.map(([term, value]) => element('div', {}, element('dt', {}, term), element('dd', {}, value)));
