/** Writes tiny ONNX models (onnx.proto3 of ONNX 1.23) that misbehave, without any ONNX or protobuf library. */

const varint = (value: number | bigint): Buffer => {
  const bytes: number[] = [];
  for (let n = BigInt(value); ; n >>= 7n) {
    if (n < 0x80n) return Buffer.from([...bytes, Number(n)]);
    bytes.push(Number(n & 0x7fn) | 0x80);
  }
};
/** Length-delimited field. */
export const bytes = (field: number, value: Uint8Array | string): Buffer => {
  const payload = Buffer.from(value as string);
  return Buffer.concat([varint((field << 3) | 2), varint(payload.length), payload]);
};
/** Varint field. */
export const int = (field: number, value: number | bigint): Buffer =>
  Buffer.concat([varint(field << 3), varint(value)]);

const FLOAT = 1; // TensorProto.DataType
const INT64 = 7;

/** ValueInfoProto: a tensor of that type and shape. */
const valueInfo = (name: string, type: number, dims: readonly number[]): Buffer => {
  const shape = bytes(2, Buffer.concat(dims.map((dim) => bytes(1, int(1, dim)))));
  return Buffer.concat([bytes(1, name), bytes(2, bytes(1, Buffer.concat([int(1, type), shape])))]);
};

export const node = (operator: string, inputs: string[], outputs: string[], extra: Buffer[] = []): Buffer =>
  Buffer.concat([
    ...inputs.map((name) => bytes(1, name)),
    ...outputs.map((name) => bytes(2, name)),
    bytes(4, operator),
    ...extra,
  ]);

export const intAttribute = (name: string, value: number): Buffer =>
  bytes(5, Buffer.concat([bytes(1, name), int(3, value), int(20, 2)]));
export const graphAttribute = (name: string, graph: Buffer): Buffer =>
  bytes(5, Buffer.concat([bytes(1, name), bytes(6, graph), int(20, 5)]));

/** TensorProto of int64 values. */
export const int64s = (name: string, values: readonly (number | bigint)[], scalar = false): Buffer =>
  Buffer.concat([
    ...(scalar ? [] : [int(1, values.length)]),
    ...[int(2, INT64), bytes(8, name), bytes(9, new BigInt64Array(values.map(BigInt)).buffer as never)],
  ]);

/** ModelProto: image [1, 1, 224, 224] in, score [1, 1, 1, 1] out. `extra` goes into the graph, `top` beside it. */
export function model(nodes: Buffer[], extra: Buffer[] = [], top: Buffer[] = []): Buffer {
  const graph = Buffer.concat([
    ...nodes.map((each) => bytes(1, each)),
    ...[bytes(2, 'g'), ...extra],
    ...[bytes(11, valueInfo('image', FLOAT, [1, 1, 224, 224])), bytes(12, valueInfo('score', FLOAT, [1, 1, 1, 1]))],
  ]);
  return Buffer.concat([int(1, 8), bytes(8, int(2, 17)), ...top, bytes(7, graph)]);
}

const mean = (input: string): Buffer => node('ReduceMean', [input], ['score']);

/** Gives the image's mean, as it comes. */
export const plain = (): Buffer => model([mean('image')]);

/** 0 / 0. */
export const notANumber = (): Buffer =>
  model([node('Sub', ['image', 'image'], ['a']), node('Div', ['a', 'a'], ['b']), mean('b')]);

/** Integer 0 / 0: SIGFPE in onnxruntime, the whole process dies. */
export const crash = (): Buffer =>
  model([
    node('Cast', ['image'], ['a'], [intAttribute('to', 6)]),
    node('Sub', ['a', 'a'], ['b']),
    node('Div', ['a', 'b'], ['c']),
    node('Cast', ['c'], ['d'], [intAttribute('to', FLOAT)]),
    mean('d'),
  ]);

/** Pads the image to so many pixels a side. */
export const memoryHog = (side: number): Buffer =>
  model([node('Pad', ['image', 'pads'], ['a']), mean('a')], [bytes(5, int64s('pads', [0, 0, 0, 0, 0, 0, side, side]))]);

/** A loop of 2^62 rounds. */
export const hang = (): Buffer => {
  const body = Buffer.concat([
    ...[bytes(1, node('Identity', ['go'], ['still'])), bytes(1, node('Sin', ['x'], ['y'])), bytes(2, 'body')],
    ...[bytes(11, valueInfo('round', INT64, [])), bytes(11, valueInfo('go', 9, []))],
    bytes(11, valueInfo('x', FLOAT, [1, 1, 224, 224])),
    ...[bytes(12, valueInfo('still', 9, [])), bytes(12, valueInfo('y', FLOAT, [1, 1, 224, 224]))],
  ]);
  const loop = node('Loop', ['rounds', '', 'image'], ['last'], [graphAttribute('body', body)]);
  return model([loop, mean('last')], [bytes(5, int64s('rounds', [2n ** 62n], true))]);
};

/** A weight that lies in another file. */
export const externalData = (location: string): Buffer => {
  const entry = (key: string, value: string): Buffer => bytes(13, Buffer.concat([bytes(1, key), bytes(2, value)]));
  const weight = Buffer.concat([int(1, 1), int(2, FLOAT), bytes(8, 'w'), entry('location', location), int(14, 1)]);
  return model([node('Add', ['image', 'w'], ['a']), mean('a')], [bytes(5, weight)]);
};
