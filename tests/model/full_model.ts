/** The denoiser of the paper at its real size, to record and plan with, on no device. */
import { fullDenoiser } from "../../tools/bench/page/full_denoiser.ts";

const full = fullDenoiser();
for (const tensor of full.tensors.values()) tensor.buffer = {} as GPUBuffer; // planning must know that its memory is elsewhere, and looks no further

export const fullModel = full.model;
