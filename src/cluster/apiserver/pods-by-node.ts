/** The pods of each node, kept up to date from the watch cache: the authorizer asks for them with every request of a node. */
import type { JsonObject } from '#schema/json.ts'
import type { Pod } from '../api/core/v1/pod.ts'
import { asKind, type Entry } from './entry.ts'
import type { Resource } from './resources.ts'
import type { State } from './state.ts'

export type PodsByNode = (node: string) => Iterable<JsonObject>

function nodeOf(entry: Entry | undefined): string {
  return entry === undefined ? '' : (asKind<Pod>(entry.object).spec.nodeName ?? '')
}

export function podsByNode(state: State, pods: Resource): PodsByNode {
  const byNode = new Map<string, Map<string, Entry>>()
  const put = (entry: Entry): void => {
    const node = nodeOf(entry)
    if (node === '') return
    const own = byNode.get(node) ?? new Map<string, Entry>()
    byNode.set(node, own.set(entry.key, entry))
  }
  const remove = (entry: Entry | undefined): void => {
    const own = byNode.get(nodeOf(entry))
    if (own === undefined || entry === undefined) return
    own.delete(entry.key)
    if (own.size === 0) byNode.delete(nodeOf(entry))
  }
  for (const entry of state.cache(pods).scan()) put(entry)
  state.listen(pods, ({ type, entry, previous }) => {
    remove(previous)
    if (type === 'put') put(entry)
  })
  return function* (node) {
    for (const { object } of byNode.get(node)?.values() ?? []) yield object
  }
}
