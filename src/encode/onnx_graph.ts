import type { InferenceSession } from "onnxruntime-web";
import { ScanvasError } from "../errors.ts";

type Metadata = InferenceSession.ValueMetadata;

/** What of a graph's interface may differ. */
export interface GraphInfo {
  idType: "int32" | "int64";
  /** Undefined when the graph takes no attention mask. */
  maskType: "int32" | "int64" | undefined;
  /** Name of the output, [1, n, width] f32 or f16. */
  output: string;
  width: number;
}

/** The interface of a T5 encoder. @throws ModelConfigError that says what the graph has instead */
export function checkGraph(
  { inputMetadata, outputMetadata }: Pick<InferenceSession, "inputMetadata" | "outputMetadata">,
  url: string,
): GraphInfo {
  const refuse = (what: string, expected: string): never => {
    throw new ScanvasError(
      "ModelConfigError",
      `${url} is not a text encoder: ${what}, expected ${expected}; export it again`,
    );
  };
  const find = (list: readonly Metadata[], name: string): Metadata | undefined =>
    list.find((value) => value.name === name);
  const integers = (value: Metadata): "int32" | "int64" => {
    const fits = value.isTensor && value.shape.length === 2 && (value.type === "int32" || value.type === "int64");
    return fits ? (value.type as "int32" | "int64") : refuse(describe(value), "int32 or int64 [1, n]");
  };

  const others = inputMetadata.filter(({ name }) => name !== "input_ids" && name !== "attention_mask");
  const ids = find(inputMetadata, "input_ids");
  if (!ids || others.length > 0) {
    refuse(`its inputs are ${inputMetadata.map(describe).join(", ")}`, "input_ids, and attention_mask or nothing");
  }
  const mask = find(inputMetadata, "attention_mask");
  const output = find(outputMetadata, "last_hidden_state") ?? outputMetadata[0]!;
  const width = output.isTensor && output.shape.length === 3 ? output.shape[2] : undefined;
  const isFloat = output.isTensor && (output.type === "float32" || output.type === "float16");
  if (typeof width !== "number" || width < 1 || !isFloat) {
    refuse(`its output is ${describe(output)}`, "float32 or float16 [1, n, width] with a fixed width");
  }
  return { idType: integers(ids!), maskType: mask && integers(mask), output: output.name, width: width as number };
}

const describe = (value: Metadata): string =>
  value.isTensor ? `${value.name} ${value.type} [${value.shape.join(", ")}]` : `${value.name} (not a tensor)`;
