/**
 * What a build has said so far, for whoever asks for its status: from the beginning, whenever they come. What is kept is bounded; who
 * lags behind it misses the oldest.
 */

/** Of encoded StatusResponses; one step's output is bounded before it comes here. */
const keptBytes = 16 << 20

export class StatusLog {
  readonly #kept: Buffer[] = []
  #keptBytes = 0
  /** Responses that were said and are no longer kept. */
  #forgotten = 0
  #isEnded = false
  readonly #found = Promise.withResolvers<void>()
  #news = Promise.withResolvers<void>()

  add(response: Buffer): void {
    this.#kept.push(response)
    this.#keptBytes += response.length
    while (this.#keptBytes > keptBytes) {
      this.#keptBytes -= this.#kept.shift()?.length ?? 0
      this.#forgotten += 1
    }
    this.#tell()
  }

  end(): void {
    this.#isEnded = true
    this.#tell()
  }

  /** Resolves when somebody reads for the first time. */
  get found(): Promise<void> {
    return this.#found.promise
  }

  /** Ends when the build has, or with the signal. */
  async *read(signal: AbortSignal): AsyncGenerator<Buffer> {
    this.#found.resolve()
    const { promise: aborted, resolve } = Promise.withResolvers<void>()
    signal.addEventListener('abort', () => resolve(), { once: true })
    for (let next = 0; !signal.aborted; ) {
      next = Math.max(next, this.#forgotten)
      const response = this.#kept[next - this.#forgotten]
      if (response !== undefined) {
        next += 1
        yield response
      } else if (this.#isEnded) return
      else await Promise.race([this.#news.promise, aborted])
    }
  }

  #tell(): void {
    const { resolve } = this.#news
    this.#news = Promise.withResolvers()
    resolve()
  }
}
