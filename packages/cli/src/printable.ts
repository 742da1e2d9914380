/**
 * Text of others for a terminal: control and formatting characters (Unicode Cc and Cf: escape sequences, C1 controls,
 * bidirectional overrides) are shown by number, so that a server or a file cannot move the cursor or hide words.
 */
export const printable = (text: string): string =>
  text.replace(/[\p{Cc}\p{Cf}]/gu, (char) => (char === '\n' ? char : `\\u{${char.codePointAt(0)!.toString(16)}}`));
