/** A device with only so much memory. Dawn's software device has as much as the machine, so what does not fit is refused here. */
export class Room {
  /** That there are. */
  bytes = Infinity;
  /** Alive now, and at most so far. */
  used = 0;
  peak = 0;
  /** By label: refused whatever its size. */
  refuses: (label: string) => boolean = () => false;
  /** Of every error scope that caught a lack: bytes that were asked for in it, and those in use before. */
  readonly refused: { wanted: number; used: number }[] = [];

  /** From now on the buffers of `device` are counted, and those without room end in its error scopes, as WebGPU has it. */
  limit(device: GPUDevice): void {
    const createBuffer = device.createBuffer.bind(device);
    const pushErrorScope = device.pushErrorScope.bind(device);
    const popErrorScope = device.popErrorScope.bind(device);
    const scopes: { filter: GPUErrorFilter; used: number; wanted: number; lacks: boolean }[] = [];
    device.createBuffer = (descriptor) => {
      const { size, label = "" } = descriptor;
      const scope = scopes.findLast(({ filter }) => filter === "out-of-memory");
      if (scope) scope.wanted += size;
      if (this.used + size > this.bytes || this.refuses(label)) {
        if (!scope) throw new Error(`${label}: made outside of any error scope`);
        scope.lacks = true;
        const small = createBuffer({ ...descriptor, size: Math.min(size, 1 << 20) });
        return Object.defineProperty(small, "size", { value: size });
      }
      this.used += size;
      this.peak = Math.max(this.peak, this.used);
      const buffer = createBuffer(descriptor);
      const destroy = buffer.destroy.bind(buffer);
      let alive = true;
      buffer.destroy = () => {
        if (alive) this.used -= size;
        alive = false;
        return destroy();
      };
      return buffer;
    };
    device.pushErrorScope = (filter) => {
      scopes.push({ filter, used: this.used, wanted: 0, lacks: false });
      return pushErrorScope(filter);
    };
    device.popErrorScope = async () => {
      const { lacks, used, wanted } = scopes.pop()!;
      const error = await popErrorScope();
      if (!lacks) return error;
      this.refused.push({ wanted, used });
      return new GPUOutOfMemoryError("no room");
    };
  }
}
