/** One model of `models.json`, as the page shows it before anything of it is downloaded. */
export interface ModelCard {
  /** Names the model in links and pictures. */
  id: string;
  /** Its folder, relative to models.json. */
  url: string;
  title: string;
  about: string;
  /** Prompts to start with; the first one is in the box when the page opens. */
  examples: string[];
  /** To download. */
  bytes: number;
  /** Pixels of the side it was trained at. */
  size: number;
  steps: number;
  guidanceScale: number;
  licence: string;
}
