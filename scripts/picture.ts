/** Draws a terminal's text as SVG: `npm start -- --once | node scripts/picture.ts > docs/start.svg`. */
import { text } from 'node:stream/consumers';

const CHAR_PX = 7.8; // of a 13 px monospace font
const LINE_PX = 18;
const PAD_PX = 18;

const lines = (await text(process.stdin)).trimEnd().split('\n');
const escapeXml = (line: string) => line.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
const colour = (line: string) =>
  /✓|Proof/.test(line)
    ? '#7ee2a8'
    : /✗/.test(line)
      ? '#ff9b9b'
      : /SIMULATED|demonstration/.test(line)
        ? '#f2cf7b'
        : '#d8dee9';
const width = Math.max(...lines.map((line) => line.length)) * CHAR_PX + 2 * PAD_PX;
const height = lines.length * LINE_PX + 2 * PAD_PX;
const rows = lines.map(
  (line, i) =>
    `<text x="${PAD_PX}" y="${PAD_PX + (i + 0.75) * LINE_PX}" fill="${colour(line)}" xml:space="preserve">${escapeXml(line)}</text>`,
);
process.stdout.write(
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${Math.ceil(width)} ${height}" font-family="ui-monospace,Menlo,Consolas,monospace" font-size="13">\n<rect width="100%" height="100%" rx="10" fill="#1d2430"/>\n${rows.join('\n')}\n</svg>\n`,
);
