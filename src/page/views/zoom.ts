/** Where a picture lies in a view that may be smaller or larger: fitted, or zoomed about a point and moved. */
export interface Size {
  width: number;
  height: number;
}

const MOST = 64; // screen pixels for one of the picture

export class Zoom {
  /** CSS pixels for one pixel of the picture. */
  scale = 1;
  /** Upper left corner of the picture in the view, CSS pixels. */
  x = 0;
  y = 0;

  constructor(
    private picture: Size,
    private view: Size,
  ) {
    this.fit();
  }

  /** The scale at which all of the picture is seen, as large as it can be. */
  get fitted(): number {
    return Math.min(this.view.width / this.picture.width, this.view.height / this.picture.height);
  }

  get isFitted(): boolean {
    return this.scale <= this.fitted;
  }

  fit(): void {
    this.scale = this.fitted;
    this.#settle();
  }

  /** The view has another size now. What was fitted stays so. */
  resize(view: Size): void {
    const { isFitted } = this;
    this.view = view;
    if (isFitted) this.fit();
    else this.#settle();
  }

  /** Scales so that the point of the picture at (x, y) of the view, its middle by default, stays there. */
  to(scale: number, x = this.view.width / 2, y = this.view.height / 2): void {
    const next = Math.min(Math.max(scale, Math.min(this.fitted, 1)), Math.max(MOST, this.fitted));
    this.x = x - ((x - this.x) * next) / this.scale;
    this.y = y - ((y - this.y) * next) / this.scale;
    this.scale = next;
    this.#settle();
  }

  move(dx: number, dy: number): void {
    this.x += dx;
    this.y += dy;
    this.#settle();
  }

  /** A side that fits is centred; one that does not leaves no gap. */
  #settle(): void {
    const along = (at: number, length: number, room: number): number =>
      length <= room ? (room - length) / 2 : Math.min(0, Math.max(room - length, at));
    this.x = along(this.x, this.picture.width * this.scale, this.view.width);
    this.y = along(this.y, this.picture.height * this.scale, this.view.height);
  }
}
