/**
 * Writes Events about pods and the node: what `kubectl describe` shows at its end. Equal events are counted up in place;
 * the queue is bounded and an object that floods it is held back (25 at once, then one each 5 min), so that events never
 * cost what they report on. Losing one is no fault.
 */
import type { Clock } from '#base/clock.ts'
import { rfc3339Seconds } from '#base/clock.ts'
import { isFault } from '#base/fault.ts'
import type { Logger } from '#base/log.ts'
import { Event } from '../../api/core/v1/event.ts'
import type { Pod } from '../../api/core/v1/pod.ts'
import type { Client } from '../../contract/client.ts'

export interface EventSubject {
  readonly kind: 'Pod' | 'Node'
  readonly namespace?: string
  readonly name: string
  readonly uid: string
  readonly resourceVersion?: string
  readonly fieldPath?: string
}

export interface EventText {
  readonly type: 'Normal' | 'Warning'
  readonly reason: string
  readonly message: string
}

interface Known {
  readonly name: string
  readonly namespace: string
  count: number
}

interface Budget {
  tokens: number
  atMs: number
}

const longestQueue = 1000
const mostKnown = 2000
const burst = 25
const refillMs = 300_000

export class Recorder {
  readonly #client: Client
  readonly #clock: Clock
  readonly #log: Logger
  readonly #host: string
  readonly #queue: (() => Promise<void>)[] = []
  readonly #known = new Map<string, Known>()
  readonly #budgets = new Map<string, Budget>()
  #working = false
  #closed = false
  #serial = 0

  constructor(options: { readonly client: Client; readonly clock: Clock; readonly log: Logger; readonly host: string }) {
    this.#client = options.client
    this.#clock = options.clock
    this.#log = options.log
    this.#host = options.host
  }

  record(subject: EventSubject, text: EventText): void {
    if (this.#closed || this.#queue.length >= longestQueue || !this.#spend(subject.uid)) return
    const atMs = this.#clock.nowMs()
    this.#queue.push(() => this.#write(subject, text, atMs))
    if (!this.#working) void this.#work()
  }

  close(): void {
    this.#closed = true
    this.#queue.length = 0
  }

  #spend(uid: string): boolean {
    const nowMs = this.#clock.monotonicMs()
    const budget = this.#budgets.get(uid) ?? { tokens: burst, atMs: nowMs }
    budget.tokens = Math.min(burst, budget.tokens + (nowMs - budget.atMs) / refillMs)
    budget.atMs = nowMs
    remember(this.#budgets, uid, budget)
    if (budget.tokens < 1) return false
    budget.tokens -= 1
    return true
  }

  async #work(): Promise<void> {
    this.#working = true
    for (let task = this.#queue.shift(); task !== undefined; task = this.#queue.shift()) {
      try {
        await task()
      } catch (error) {
        this.#log.debug({ err: error }, 'an event could not be written')
      }
    }
    this.#working = false
  }

  async #write(subject: EventSubject, text: EventText, atMs: number): Promise<void> {
    const key = [subject.uid, subject.fieldPath, text.type, text.reason, text.message].join('\0')
    const known = this.#known.get(key)
    if (known !== undefined) {
      known.count += 1
      try {
        const patch = { count: known.count, lastTimestamp: rfc3339Seconds(atMs) }
        await this.#client.patch(Event, { namespace: known.namespace, name: known.name }, patch, { type: 'merge' })
        return
      } catch (error) {
        // Events expire: then it is written anew.
        if (!isFault(error, 'notFound')) throw error
      }
    }
    const namespace = subject.namespace ?? 'default'
    this.#serial += 1
    const name = `${subject.name}.${(atMs * 1000 + (this.#serial % 1000)).toString(16)}`
    const time = rfc3339Seconds(atMs)
    await this.#client.create(Event, {
      metadata: { name, namespace },
      involvedObject: {
        apiVersion: 'v1',
        kind: subject.kind,
        name: subject.name,
        uid: subject.uid,
        ...(subject.namespace === undefined ? {} : { namespace: subject.namespace }),
        ...(subject.resourceVersion === undefined ? {} : { resourceVersion: subject.resourceVersion }),
        ...(subject.fieldPath === undefined ? {} : { fieldPath: subject.fieldPath }),
      },
      ...text,
      source: { component: 'kubelet', host: this.#host },
      firstTimestamp: time,
      lastTimestamp: time,
      count: 1,
      reportingComponent: 'kubelet',
      reportingInstance: this.#host,
    })
    remember(this.#known, key, { name, namespace, count: 1 })
  }
}

/** A map that forgets its oldest entries. */
function remember<T>(map: Map<string, T>, key: string, value: T): void {
  map.delete(key)
  map.set(key, value)
  if (map.size <= mostKnown) return
  const [oldest] = map.keys()
  if (oldest !== undefined) map.delete(oldest)
}

/** The pod, or one container of it, as an event's subject. */
export function podSubject(pod: Pod, container?: string): EventSubject {
  const { namespace, name, uid, resourceVersion } = pod.metadata
  return { kind: 'Pod', namespace, name, uid, resourceVersion, ...(container === undefined ? {} : { fieldPath: fieldPathOf(pod, container) }) }
}

function fieldPathOf({ spec }: Pod, container: string): string {
  const list = (spec.initContainers ?? []).some(({ name }) => name === container) ? 'initContainers' : (spec.ephemeralContainers ?? []).some(({ name }) => name === container) ? 'ephemeralContainers' : 'containers'
  return `spec.${list}{${container}}`
}
