/** The smallest ONNX file with one MatMul, y = a b on [n, n] f32: protobuf by hand, field numbers from onnx.proto3. */
export function matmulModel(n: number): Uint8Array {
  const varint = (value: number): number[] =>
    value < 128 ? [value] : [(value & 127) | 128, ...varint(Math.floor(value / 128))];
  const number = (field: number, value: number): number[] => [...varint(field * 8), ...varint(value)];
  const bytes = (field: number, content: readonly number[]): number[] => [
    ...varint(field * 8 + 2),
    ...varint(content.length),
    ...content,
  ];
  const text = (field: number, value: string): number[] => bytes(field, [...new TextEncoder().encode(value)]);
  const FLOAT = 1;
  const matrix = (name: string): number[] => {
    const shape = [n, n].flatMap((size) => bytes(1, number(1, size)));
    return [...text(1, name), ...bytes(2, bytes(1, [...number(1, FLOAT), ...bytes(2, shape)]))];
  };
  const node = [...text(1, "a"), ...text(1, "b"), ...text(2, "y"), ...text(4, "MatMul")];
  const graph = [
    ...bytes(1, node),
    ...text(2, "matmul"),
    ...bytes(11, matrix("a")),
    ...bytes(11, matrix("b")),
    ...bytes(12, matrix("y")),
  ];
  return Uint8Array.from([...number(1, 8), ...bytes(7, graph), ...bytes(8, [...text(1, ""), ...number(2, 17)])]);
}
