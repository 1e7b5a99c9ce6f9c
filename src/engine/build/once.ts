/** Work that several may ask for at the same time or one after another, and that is done once. */
export class Once<T> {
  readonly #known = new Map<string, Promise<T>>()

  /** The first one's outcome, a failure included, is everybody's. */
  of(key: string, work: () => Promise<T>): Promise<T> {
    const known = this.#known.get(key)
    if (known !== undefined) return known
    const begun = work()
    this.#known.set(key, begun)
    return begun
  }
}
