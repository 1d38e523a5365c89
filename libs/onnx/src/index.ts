/** Runs ONNX models with onnxruntime on the CPU. */
export * from "./model.ts";
