/**
 * Looks at an ONNX file before onnxruntime does: a walk over its protobuf (onnx.proto3 of ONNX 1.23, IR version 13)
 * that knows only what a plain feed-forward network needs. Everything else is refused by name: external data (five
 * CVEs from 2022 to 2026), custom operators, functions, subgraphs, strings, training parts, unknown fields.
 */
import { errorOf } from '../errors.ts';

/** Operators that read their inputs, write their outputs and end: no loops, branches, files or random numbers. */
const OPERATORS = new Set([
  ...['Abs', 'Add', 'AveragePool', 'BatchNormalization', 'Cast', 'Clip', 'Concat', 'Constant', 'Conv', 'Div', 'Erf'],
  ...['Exp', 'Flatten', 'Gather', 'Gemm', 'GlobalAveragePool', 'GlobalMaxPool', 'HardSigmoid', 'HardSwish', 'Identity'],
  ...['InstanceNormalization', 'LayerNormalization', 'LeakyRelu', 'Log', 'MatMul', 'Max', 'MaxPool', 'Min', 'Mul'],
  ...['Neg', 'Pad', 'Pow', 'PRelu', 'ReduceMax', 'ReduceMean', 'ReduceSum', 'Relu', 'Reshape', 'Resize', 'Sigmoid'],
  ...['Slice', 'Softmax', 'Split', 'Sqrt', 'Squeeze', 'Sub', 'Tanh', 'Transpose', 'Unsqueeze'],
]);

const MAX_NODES = 2048; // DenseNet-201, about the deepest of the common classifiers, exports to some 700
const MAX_RANK = 8; // beyond video (N, C, T, H, W) nothing here needs more
const STRING = 8; // TensorProto.DataType.STRING: values that are not numbers

/** Field numbers of onnx.proto3: 'skip' = carries nothing that runs; a function walks the message inside. */
type Rule = 'skip' | ((value: Field) => void);
type Rules = Record<number, Rule>;
interface Field {
  bytes: Uint8Array;
  number: bigint;
}

/** Throws MODEL_INVALID that says what was refused. `name` is the file's name, for the message. */
export function scanOnnx(onnx: Uint8Array, name: string): void {
  const refuse = (what: string): never => {
    throw errorOf('MODEL_INVALID', `${name}: ${what}.`);
  };
  const message =
    (rules: Rules, what: string) =>
    ({ bytes }: Field): void => {
      try {
        walk(bytes, (field, value) => {
          const rule = rules[field] ?? refuse(`${what} has field ${field}, which is not accepted`);
          if (rule !== 'skip') rule(value);
        });
      } catch (error) {
        if (error instanceof RangeError) refuse(`${what} is not valid protobuf`);
        throw error;
      }
    };
  const refused = (what: string) => () => refuse(what);
  const standard = ({ bytes }: Field) => {
    const domain = text(bytes);
    if (domain !== '' && domain !== 'ai.onnx') refuse('it uses an operator domain other than ai.onnx');
  };

  let nodes = 0;
  let graphs = 0;
  const tensor: Rule = (value) => {
    let rank = 0;
    const rules: Rules = {
      1: ({ bytes }) => {
        rank += bytes.length === 0 ? 1 : varints(bytes); // unpacked or packed
        if (rank > MAX_RANK) refuse(`a tensor has more than ${MAX_RANK} dimensions`);
      },
      2: ({ number }) => number === BigInt(STRING) && refuse('a tensor holds strings'),
      3: refused('a tensor is cut into segments'),
      6: refused('a tensor holds strings'),
      13: refused('a tensor lies in another file'),
      14: ({ number }) => number !== 0n && refuse('a tensor lies in another file'),
    };
    for (const plain of [4, 5, 7, 8, 9, 10, 11, 12, 16]) rules[plain] = 'skip';
    message(rules, 'a tensor')(value);
  };
  const attribute = message(
    {
      ...{ 1: 'skip', 2: 'skip', 3: 'skip', 4: 'skip', 7: 'skip', 8: 'skip', 9: 'skip', 13: 'skip', 20: 'skip' },
      5: tensor,
      6: refused('a node holds a graph of its own'),
      10: tensor,
      11: refused('a node holds a graph of its own'),
      22: refused('a node holds a sparse tensor'),
      23: refused('a node holds sparse tensors'),
    },
    'an attribute',
  );
  const node: Rule = (value) => {
    if (++nodes > MAX_NODES) refuse(`it has more than ${MAX_NODES} nodes`);
    let operator = '';
    const name: Rule = ({ bytes }) => {
      operator = text(bytes);
    };
    const rules: Rules = { 1: 'skip', 2: 'skip', 3: 'skip', 4: name, 5: attribute, 6: 'skip', 7: standard, 9: 'skip' };
    message(rules, 'a node')(value);
    if (!OPERATORS.has(operator)) refuse(`operator ${/^\w{1,40}$/.test(operator) ? operator : '?'} is not accepted`);
  };
  const graph = message(
    {
      ...{ 2: 'skip', 10: 'skip', 11: 'skip', 12: 'skip', 13: 'skip', 14: 'skip', 16: 'skip' },
      1: node,
      5: tensor,
      15: refused('the graph holds a sparse tensor'),
    },
    'the graph',
  );

  message(
    {
      ...{ 1: 'skip', 2: 'skip', 3: 'skip', 4: 'skip', 5: 'skip', 6: 'skip', 14: 'skip' },
      7: (value) => {
        if (++graphs > 1) refuse('it has more than one graph');
        graph(value);
      },
      8: message({ 1: standard, 2: 'skip' }, 'an operator set'),
      20: refused('it has training parts'),
      25: refused('it defines functions'),
    },
    'the file',
  )({ bytes: onnx, number: 0n });
  if (nodes === 0) refuse('it has no nodes');
}

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

/** Protocol Buffers encoding: tag = field number << 3 | wire type; 0 varint, 1 eight bytes, 2 length and bytes, 5 four bytes. */
function walk(bytes: Uint8Array, visit: (field: number, value: Field) => void): void {
  const none = new Uint8Array(0);
  for (let at = 0; at < bytes.length; ) {
    const tag = varint(bytes, at);
    const field = Number(tag.value >> 3n);
    at = tag.next;
    let value: Field = { bytes: none, number: 0n };
    switch (Number(tag.value & 7n)) {
      case 0: {
        const read = varint(bytes, at);
        value = { bytes: none, number: read.value };
        at = read.next;
        break;
      }
      case 1:
        at += 8;
        break;
      case 2: {
        const length = varint(bytes, at);
        at = length.next + Number(length.value);
        if (at <= bytes.length) value = { bytes: bytes.subarray(length.next, at), number: 0n };
        break;
      }
      case 5:
        at += 4;
        break;
      default:
        throw new RangeError('wire type');
    }
    if (at > bytes.length) throw new RangeError('length');
    visit(field, value);
  }
}

function varint(bytes: Uint8Array, start: number): { value: bigint; next: number } {
  let value = 0n;
  for (let i = 0; i < 10; i++) {
    const byte = bytes[start + i];
    if (byte === undefined) break;
    value |= BigInt(byte & 0x7f) << BigInt(7 * i);
    if (byte < 0x80) return { value, next: start + i + 1 };
  }
  throw new RangeError('varint');
}

/** How many varints a packed field holds. */
const varints = (bytes: Uint8Array): number => bytes.reduce((count, byte) => count + (byte < 0x80 ? 1 : 0), 0);
