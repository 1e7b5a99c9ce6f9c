/**
 * Pods that wait for a node. Ready ones leave by priority, then by age. A pod that fitted nowhere rests until something
 * changes in the cluster, but at least for its back-off (1 s, doubling to 10 s), and at most five minutes.
 */
import type { Clock, Timer } from '#base/clock.ts'

export interface QueuedPod {
  readonly key: string
  readonly uid: string
  readonly priority: number
}

interface Entry extends QueuedPod {
  readonly sequence: number
  attempts: number
  /** Not before this moment. */
  notBeforeMs: number
  state: 'ready' | 'backingOff' | 'resting'
  timer: Timer | undefined
}

const firstBackoffMs = 1000
const longestBackoffMs = 10_000
const longestRestMs = 300_000

export class PodQueue implements Disposable {
  readonly #clock: Clock
  readonly #onReady: () => void
  readonly #entries = new Map<string, Entry>()
  #ready: Entry[] = []
  #sequence = 0

  /** `onReady` is told when a pod may leave; it must not take one synchronously. */
  constructor(clock: Clock, onReady: () => void) {
    this.#clock = clock
    this.#onReady = onReady
  }

  get size(): number {
    return this.#entries.size
  }

  get readySize(): number {
    return this.#ready.length
  }

  /** A new pod, or one that changed in a way that may matter: it is tried at once if its back-off is over. */
  add(pod: QueuedPod): void {
    const known = this.#entries.get(pod.key)
    if (known !== undefined && known.uid === pod.uid) {
      if (known.state === 'resting') this.#wake(known)
      return
    }
    this.remove(pod.key)
    const entry: Entry = { ...pod, sequence: this.#sequence++, attempts: 0, notBeforeMs: 0, state: 'ready', timer: undefined }
    this.#entries.set(pod.key, entry)
    this.#makeReady(entry)
  }

  /** Takes the next pod out to be tried. It is gone from the queue unless `rest` or `retry` puts it back. */
  take(): { readonly pod: QueuedPod; readonly attempts: number } | undefined {
    const entry = popFirst(this.#ready)
    if (entry === undefined) return undefined
    this.#entries.delete(entry.key)
    return { pod: { key: entry.key, uid: entry.uid, priority: entry.priority }, attempts: entry.attempts + 1 }
  }

  /** It fitted nowhere: wait for a change. `changedMeanwhile`: something did change since it was taken. */
  rest(pod: QueuedPod, attempts: number, changedMeanwhile: boolean): void {
    const entry = this.#back(pod, attempts)
    if (changedMeanwhile) this.#wake(entry)
    else entry.timer = this.#clock.after(longestRestMs, () => this.#wake(entry), { background: true })
  }

  /** Something failed on the way: try again after the back-off whatever happens. */
  retry(pod: QueuedPod, attempts: number): void {
    this.#wake(this.#back(pod, attempts))
  }

  remove(key: string): void {
    const entry = this.#entries.get(key)
    if (entry === undefined) return
    entry.timer?.cancel()
    this.#entries.delete(key)
    this.#ready = this.#ready.filter((other) => other !== entry)
    heapify(this.#ready)
  }

  /** Something changed that may let resting pods fit. */
  wakeAll(): void {
    for (const entry of this.#entries.values()) if (entry.state === 'resting') this.#wake(entry)
  }

  #back(pod: QueuedPod, attempts: number): Entry {
    this.remove(pod.key)
    const notBeforeMs = this.#clock.monotonicMs() + Math.min(longestBackoffMs, firstBackoffMs * 2 ** Math.min(attempts - 1, 10))
    const entry: Entry = { ...pod, sequence: this.#sequence++, attempts, notBeforeMs, state: 'resting', timer: undefined }
    this.#entries.set(pod.key, entry)
    return entry
  }

  #wake(entry: Entry): void {
    entry.timer?.cancel()
    entry.timer = undefined
    const waitMs = entry.notBeforeMs - this.#clock.monotonicMs()
    if (waitMs <= 0) return this.#makeReady(entry)
    entry.state = 'backingOff'
    entry.timer = this.#clock.after(waitMs, () => this.#makeReady(entry), { background: true })
  }

  #makeReady(entry: Entry): void {
    entry.timer?.cancel()
    entry.timer = undefined
    entry.state = 'ready'
    push(this.#ready, entry)
    this.#onReady()
  }

  [Symbol.dispose](): void {
    for (const { timer } of this.#entries.values()) timer?.cancel()
    this.#entries.clear()
    this.#ready = []
  }
}

const before = (a: Entry, b: Entry): boolean => (a.priority === b.priority ? a.sequence < b.sequence : a.priority > b.priority)

function push(heap: Entry[], entry: Entry): void {
  heap.push(entry)
  let at = heap.length - 1
  while (at > 0) {
    const parent = (at - 1) >> 1
    const above = heap[parent]
    if (above === undefined || !before(entry, above)) break
    heap[at] = above
    heap[parent] = entry
    at = parent
  }
}

function sink(heap: Entry[], start: number): void {
  let at = start
  for (;;) {
    const here = heap[at]
    const [left, right] = [heap[2 * at + 1], heap[2 * at + 2]]
    if (here === undefined || left === undefined) return
    const child = right !== undefined && before(right, left) ? 2 * at + 2 : 2 * at + 1
    const below = heap[child]
    if (below === undefined || !before(below, here)) return
    heap[at] = below
    heap[child] = here
    at = child
  }
}

function popFirst(heap: Entry[]): Entry | undefined {
  const first = heap[0]
  const last = heap.pop()
  if (first === undefined || last === undefined || heap.length === 0) return first
  heap[0] = last
  sink(heap, 0)
  return first
}

function heapify(heap: Entry[]): void {
  for (let at = (heap.length >> 1) - 1; at >= 0; at -= 1) sink(heap, at)
}
