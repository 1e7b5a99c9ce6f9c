/** The main thread's side of a kernel worker: typed calls that settle when the worker answers. */
import { Worker } from 'node:worker_threads'
import { Fault } from '#base/fault.ts'
import { fromFaultMessage } from './faultMessage.ts'
import type { OperationName, Operations } from './operations/table.ts'
import type { AnswerMessage, CallMessage } from './worker.ts'

type Request<K extends OperationName> = Parameters<Operations[K]> extends readonly [infer R] ? [request: R] : []
type Answer<K extends OperationName> = ReturnType<Operations[K]>

interface Waiting {
  resolve(result: unknown): void
  reject(error: unknown): void
}

/** Heap bounds keep an idle worker small. Descriptors are opened and closed by the C library too, so Node must not keep its own account of them. */
export const workerOptions = { resourceLimits: { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 4 }, trackUnmanagedFds: false }

export class KernelThread implements AsyncDisposable {
  readonly #name: string
  readonly #waiting = new Map<number, Waiting>()
  #started: Worker | undefined
  #nextId = 0
  #ended: Fault | undefined

  /** The worker starts with the first call: one that is never needed takes no memory (some 9 MB). */
  constructor(name: string) {
    this.#name = name
  }

  get #worker(): Worker {
    this.#started ??= this.#start()
    return this.#started
  }

  #start(): Worker {
    const name = this.#name
    const worker = new Worker(new URL('./worker.ts', import.meta.url), { name, ...workerOptions })
    // An idle worker must not keep the process alive; each call does, while it waits.
    worker.unref()
    worker.on('message', (answer: AnswerMessage) => this.#settle(answer))
    worker.on('error', (error) => this.#end(new Fault('internal', `the kernel worker '${name}' failed: ${error instanceof Error ? error.message : String(error)}`, { cause: error })))
    worker.on('exit', () => this.#end(new Fault('unavailable', `the kernel worker '${name}' has ended`)))
    return worker
  }

  call<K extends OperationName>(name: K, ...[request]: Request<K>): Promise<Answer<K>> {
    return new Promise((resolve, reject) => {
      if (this.#ended !== undefined) return reject(this.#ended)
      const id = this.#nextId
      this.#nextId += 1
      if (this.#waiting.size === 0) this.#worker.ref()
      // The worker answers call `id` with what operation `name` returned.
      this.#waiting.set(id, { resolve: (result) => resolve(result as Answer<K>), reject })
      const message: CallMessage = { id, name, request }
      this.#worker.postMessage(message)
    })
  }

  #settle(answer: AnswerMessage): void {
    const waiting = this.#waiting.get(answer.id)
    this.#waiting.delete(answer.id)
    if (this.#waiting.size === 0) this.#worker.unref()
    if (answer.fault === undefined) waiting?.resolve(answer.result)
    else waiting?.reject(fromFaultMessage(answer.fault))
  }

  #end(fault: Fault): void {
    this.#ended ??= fault
    for (const waiting of this.#waiting.values()) waiting.reject(this.#ended)
    this.#waiting.clear()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended ??= new Fault('unavailable', 'the kernel room was closed')
    await this.#started?.terminate()
  }
}
