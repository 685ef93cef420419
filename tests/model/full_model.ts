/** The denoiser of the paper at its real size, to record and plan with, on no device. */
import { fullDenoiser } from "../../tools/bench/page/full_denoiser.ts";

export const fullModel = fullDenoiser().model;
