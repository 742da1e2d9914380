/** How long the oldest entry has waited that is not cosigned yet. */
export class Tail {
  /** Sizes of the tree and when each was seen first, oldest first; all beyond what is cosigned. */
  readonly #seen: { size: number; at: number }[] = [];
  #size = 0;
  readonly #monotonicMs: () => number;

  constructor(monotonicMs: () => number = () => performance.now()) {
    this.#monotonicMs = monotonicMs;
  }

  /** `size`: of the tree now; a smaller one than before is another tree, in whose first entry the end of the old one stands. */
  look(size: number, cosignedSize: number): void {
    if (size < this.#size) this.#seen.length = 0;
    if (size !== this.#size) this.#seen.push({ size, at: this.#monotonicMs() });
    this.#size = size;
    while (this.#seen.length > 0 && this.#seen[0]!.size <= cosignedSize) this.#seen.shift();
  }

  ageMs(): number {
    const [oldest] = this.#seen;
    return oldest ? this.#monotonicMs() - oldest.at : 0;
  }
}
