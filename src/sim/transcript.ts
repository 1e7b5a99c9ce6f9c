/**
 * What happened, as text: one line per change of the store, with the virtual time and what matters of the object. A
 * story's transcript stands in its test and is reviewed as a diff; two runs of one seed must give the same one.
 */
import type { Clock } from '#base/clock.ts'
import { isJsonArray, isJsonObject, textOf, type Json, type JsonObject } from '#schema/json.ts'
import { valueAt } from '#schema/selector.ts'
import type { Store, StoreEvent } from '#cluster/contract/store.ts'

export interface Transcript {
  readonly lines: readonly string[]
  /** The lines since the last call. */
  take(): string[]
  close(): void
}

export interface TranscriptOptions {
  /** Leave these kinds out. Leases only tick. */
  readonly without?: readonly string[]
}

export function recordTranscript(store: Store, clock: Clock, { without = ['Lease', 'Event'] }: TranscriptOptions = {}): Transcript {
  const lines: string[] = []
  const objects = new Map<string, JsonObject>()
  const controller = new AbortController()
  const startedMs = clock.nowMs()
  let taken = 0
  const follow = async (): Promise<void> => {
    for await (const events of store.watch('/', { after: store.revision(), signal: controller.signal, bufferedEvents: Number.POSITIVE_INFINITY })) {
      for (const event of events) {
        const line = describe(event, objects)
        if (line !== undefined && !without.includes(line.kind)) lines.push(`${((clock.nowMs() - startedMs) / 1000).toFixed(3)} ${line.text}`)
      }
    }
  }
  // A transcript that fails to follow is a broken test harness: let it surface as an unhandled rejection.
  void follow()
  return {
    lines,
    take: () => lines.slice(taken, (taken = lines.length)),
    close: () => controller.abort(),
  }
}

function describe(event: StoreEvent, objects: Map<string, JsonObject>): { readonly kind: string; readonly text: string } | undefined {
  const before = objects.get(event.key)
  if (event.type === 'delete') {
    objects.delete(event.key)
    return { kind: text(before?.['kind']), text: `- ${nameOf(before, event.key)}` }
  }
  const object: unknown = JSON.parse(event.value.toString())
  if (!isJsonObject(object)) return undefined
  objects.set(event.key, object)
  const details = detailsOf(object)
  const kind = text(object['kind'])
  const sign = before === undefined || event.createRevision === event.revision ? '+' : '~'
  const same = sign === '~' && before !== undefined && details === detailsOf(before)
  return { kind, text: `${sign} ${nameOf(object, event.key)}${details === '' ? '' : ` ${details}`}${same ? ' (as before)' : ''}` }
}

const text = (value: Json | undefined): string => (typeof value === 'string' || typeof value === 'number' ? String(value) : '')

function nameOf(object: JsonObject | undefined, key: string): string {
  if (object === undefined) return key
  const namespace = text(valueAt(object, 'metadata.namespace'))
  return `${text(object['kind'])} ${namespace === '' || namespace === 'default' ? '' : `${namespace}/`}${text(valueAt(object, 'metadata.name'))}`
}

/** `name=value` for those of the pairs that have a value. */
function pairs(values: Readonly<Record<string, Json | undefined>>): string {
  return Object.entries(values)
    .flatMap(([name, value]) => (text(value) === '' ? [] : [`${name}=${text(value)}`]))
    .join(' ')
}

function conditionsOf(object: JsonObject, types: readonly string[]): Record<string, Json | undefined> {
  const conditions = valueAt(object, 'status.conditions')
  const found: Record<string, Json | undefined> = {}
  for (const condition of isJsonArray(conditions) ? conditions : []) {
    if (!isJsonObject(condition) || !types.includes(text(condition['type']))) continue
    const reason = text(condition['reason'])
    found[text(condition['type'])] = `${text(condition['status'])}${reason === '' ? '' : `/${reason}`}`
  }
  return found
}

function detailsOf(object: JsonObject): string {
  const at = (path: string): Json | undefined => valueAt(object, path)
  const finalizers = at('metadata.finalizers')
  const life = { deleting: at('metadata.deletionTimestamp') === undefined ? undefined : 'yes', finalizers: isJsonArray(finalizers) && finalizers.length > 0 ? finalizers.map(textOf).join('+') : undefined }
  switch (object['kind']) {
    case 'Pod':
      return pairs({ node: at('spec.nodeName'), phase: at('status.phase'), ...conditionsOf(object, ['Ready', 'PodScheduled']), ...life })
    case 'ReplicaSet':
      return pairs({
        replicas: at('spec.replicas'), has: at('status.replicas'), ready: at('status.readyReplicas'), available: at('status.availableReplicas'),
        revision: annotation(object, 'deployment.kubernetes.io/revision'), ...life,
      })
    case 'Deployment':
      return pairs({
        replicas: at('spec.replicas'), generation: `${text(at('metadata.generation'))}/${text(at('status.observedGeneration'))}`,
        has: at('status.replicas'), updated: at('status.updatedReplicas'), available: at('status.availableReplicas'),
        revision: annotation(object, 'deployment.kubernetes.io/revision'), ...conditionsOf(object, ['Available', 'Progressing']), ...life,
      })
    case 'EndpointSlice':
      return pairs({ endpoints: endpointsText(at('endpoints')), ...life })
    case 'Node':
      return pairs({ ...conditionsOf(object, ['Ready']), taints: taintsText(at('spec.taints')), ...life })
    case 'Event':
      return pairs({ about: at('involvedObject.name'), reason: at('reason'), message: at('message'), count: at('count') })
    case 'Namespace':
      return pairs({ phase: at('status.phase'), ...conditionsOf(object, ['NamespaceContentRemaining']), ...life })
    default:
      return pairs(life)
  }
}

function annotation(object: JsonObject, name: string): Json | undefined {
  const annotations = valueAt(object, 'metadata.annotations')
  return isJsonObject(annotations) ? annotations[name] : undefined
}

function endpointsText(endpoints: Json | undefined): string {
  if (!isJsonArray(endpoints)) return ''
  const shown = endpoints.flatMap((endpoint) => {
    if (!isJsonObject(endpoint)) return []
    const flag = valueAt(endpoint, 'conditions.ready') === true ? '' : valueAt(endpoint, 'conditions.terminating') === true ? '(terminating)' : '(not ready)'
    return [`${text(valueAt(endpoint, 'targetRef.name'))}${flag}`]
  })
  return shown.length === 0 ? 'none' : shown.join(',')
}

function taintsText(taints: Json | undefined): string {
  return isJsonArray(taints) ? taints.flatMap((taint) => (isJsonObject(taint) ? [`${text(taint['key']).replace('node.kubernetes.io/', '')}:${text(taint['effect'])}`] : [])).join(',') : ''
}
