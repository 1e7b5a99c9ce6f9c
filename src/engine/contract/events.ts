/**
 * `Events`: what happened, told to whoever asks (`docker events`, Engine API `GET /events`). Publishing never blocks and never
 * fails. The last 256 events are kept for replay.
 *
 *     events.publish({ type: 'container', action: 'start', actor: { id, attributes: { name, image } } })
 *     for await (const event of events.subscribe({ filters, sinceNs, untilNs, signal })) …
 *
 * A subscriber that does not read is ended with a `resourceExhausted` fault when 4096 events wait for it.
 */
export type EventType = 'container' | 'image' | 'network' | 'volume' | 'builder' | 'daemon' | 'plugin'

export interface EngineEvent {
  readonly type: EventType
  /** `create`, `start`, `die`, `exec_create: CMD`, … as Docker spells them. */
  readonly action: string
  readonly actor: { readonly id: string; readonly attributes: Readonly<Record<string, string>> }
  readonly scope: 'local'
  readonly timeNs: bigint
  /** `k8s` events are shown only to those who ask for them. */
  readonly namespace: 'docker' | 'k8s'
}

/** Several values of one key are alternatives; different keys must all hold. Keys are those of `docker events --filter`. */
export type EventFilters = ReadonlyMap<string, readonly string[]>

export interface EventQuery {
  readonly filters?: EventFilters
  /** Replays kept events from here on. Absent: only new ones. */
  readonly sinceNs?: bigint
  /** Ends there. A time that has passed: replay only. */
  readonly untilNs?: bigint
  readonly namespace?: 'docker' | 'k8s' | 'all'
  readonly signal: AbortSignal
}

export interface EventPublisher {
  publish(event: { readonly type: EventType; readonly action: string; readonly actor: { readonly id: string; readonly attributes?: Readonly<Record<string, string>> }; readonly namespace?: 'docker' | 'k8s' }): void
}

export interface EventSubscriber {
  /** Subscribed when the call returns: nothing published afterwards is missed. */
  subscribe(query: EventQuery): AsyncIterable<EngineEvent>
}

export interface Events extends EventPublisher, EventSubscriber {}
