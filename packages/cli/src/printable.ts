/**
 * Text of others for a terminal, in one line: control, formatting and separating characters (Unicode Cc, Cf, Zl and Zp: line
 * feeds, escape sequences, C1 controls, bidirectional overrides) are shown by number, so that a server or a file cannot move
 * the cursor, hide words, or write a line of its own.
 */
export const printable = (text: string): string =>
  text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (char) => `\\u{${char.codePointAt(0)!.toString(16)}}`);

/** The same for JSON, which stays JSON: what JSON.stringify lets through is written in JSON's own escapes. */
export const printableJson = (json: string): string =>
  json.replace(/[\p{Cf}\p{Zl}\p{Zp}\u007f-\u009f]/gu, (char) =>
    [...Array(char.length).keys()].map((at) => `\\u${char.charCodeAt(at).toString(16).padStart(4, '0')}`).join(''),
  );
