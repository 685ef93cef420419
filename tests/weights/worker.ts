import { expose } from "comlink";
import { scenarios } from "./scenarios.ts";

expose(scenarios);
