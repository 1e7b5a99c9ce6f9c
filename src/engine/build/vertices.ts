/**
 * The graph of a build as BuildKit's clients draw it: each step that takes time is a vertex, several of which run side by side. It is told
 * at once, unlike the classic text (`ordered-output.ts`), which follows the order of the file.
 */
import { createHash } from 'node:crypto'
import type { BuildMessage, BuildWarning } from '../contract/builds.ts'
import { wordsOf } from './dockerfile/fault.ts'

export class Vertices implements Disposable {
  readonly #buildId: string
  readonly #emit: (message: BuildMessage) => void
  readonly #open = new Set<Vertex>()
  #count = 0

  constructor(buildId: string, emit: (message: BuildMessage) => void) {
    this.#buildId = buildId
    this.#emit = emit
  }

  /** `inputs`: ids of vertices whose results it takes. */
  begin(name: string, inputs: readonly string[] = []): Vertex {
    this.#count += 1
    const id = `sha256:${createHash('sha256').update(`${this.#buildId} ${this.#count}`).digest('hex')}`
    const vertex: Vertex = new Vertex(id, (message) => this.#emit(message), () => this.#open.delete(vertex))
    this.#open.add(vertex)
    this.#emit({ kind: 'vertex', id, name, inputs, state: 'begun' })
    return vertex
  }

  /** A vertex around work: it ends with the work's failure. */
  async during<T>(name: string, work: (vertex: Vertex) => Promise<T>): Promise<T> {
    const vertex = this.begin(name)
    try {
      const result = await work(vertex)
      vertex.end()
      return result
    } catch (error) {
      vertex.fail(error)
      throw error
    }
  }

  /** Text for the classic clients. */
  tell(text: string): void {
    this.#emit({ kind: 'stream', text })
  }

  /** What is still open ends with its build. */
  [Symbol.dispose](): void {
    for (const vertex of this.#open) vertex.end({ error: 'context canceled' })
  }
}

export class Vertex {
  readonly id: string
  readonly #emit: (message: BuildMessage) => void
  readonly #onEnd: () => void

  constructor(id: string, emit: (message: BuildMessage) => void, onEnd: () => void) {
    this.id = id
    this.#emit = emit
    this.#onEnd = onEnd
  }

  output(data: Buffer, channel: 'stdout' | 'stderr'): void {
    this.#emit({ kind: 'output', vertex: this.id, data, channel })
  }

  /** A part of the vertex, e.g. a layer of a pull: `part` names it, `status` says what happens to it. */
  progress(part: string, status: string, amount: { readonly currentBytes?: number; readonly totalBytes?: number; readonly isDone?: boolean } = {}): void {
    this.#emit({ kind: 'progress', vertex: this.id, part, status, ...amount })
  }

  warn(warning: BuildWarning): void {
    this.#emit({ kind: 'warning', vertex: this.id, warning })
  }

  end(how: { readonly cached?: boolean; readonly error?: string } = {}): void {
    this.#onEnd()
    this.#emit({ kind: 'vertex', id: this.id, state: 'ended', cached: how.cached ?? false, ...(how.error === undefined ? {} : { error: how.error }) })
  }

  fail(error: unknown): void {
    this.end({ error: wordsOf(error) })
  }
}
