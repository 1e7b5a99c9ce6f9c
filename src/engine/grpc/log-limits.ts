/** Bounds what a step's command may say to clients, as BuildKit does (`util/progress/logs`). */
import type { BuildMessage } from '../contract/builds.ts'

/** BuildKit's default of `BUILDKIT_STEP_LOG_MAX_SIZE`. */
const stepBytes = 2 << 20

export class LogLimits {
  readonly #said = new Map<string, number>()

  /** What is to be told in place of the message. */
  apply(message: BuildMessage): readonly BuildMessage[] {
    if (message.kind === 'vertex' && message.state === 'ended') this.#said.delete(message.id)
    if (message.kind !== 'output') return [message]
    const before = this.#said.get(message.vertex) ?? 0
    this.#said.set(message.vertex, before + message.data.length)
    if (before > stepBytes) return []
    if (before + message.data.length <= stepBytes) return [message]
    // Once: what follows finds the limit exceeded.
    this.#said.set(message.vertex, Number.POSITIVE_INFINITY)
    const note = Buffer.from(`\n[output clipped, log limit ${stepBytes >> 20}MiB reached]\n`)
    return [{ ...message, data: message.data.subarray(0, stepBytes - before) }, { ...message, data: note }]
  }
}
