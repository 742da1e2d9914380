/** Items from a producer that pushes to one consumer that iterates, one at a time: there is no queue between them. */
export class Handover<T> implements AsyncIterable<T> {
  #offer: { item: T; taken: () => void } | null = null;
  #ended = false;
  #failure: Error | null = null;
  #wake: () => void = () => undefined;

  /** Resolves when the consumer is done with the item and asks for the next; never, when it stops before. */
  give(item: T): Promise<void> {
    if (this.#offer) return Promise.reject(new Error('the item before is not taken yet'));
    return new Promise((taken) => {
      this.#offer = { item, taken };
      this.#wake();
    });
  }

  end(): void {
    this.#ended = true;
    this.#wake();
  }

  /** Makes the iteration throw `error`, whatever was offered. */
  fail(error: Error): void {
    this.#failure = error;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T> {
    for (;;) {
      if (this.#failure) throw this.#failure;
      const offer = this.#offer;
      if (offer) {
        yield offer.item;
        this.#offer = null;
        offer.taken();
      } else if (this.#ended) return;
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
    }
  }
}
