/**
 * Spreads endpoints over slices of at most 100, touching as few slices as possible: an endpoint stays in the slice where
 * it stands, new ones go into slices that change anyway, then into ones with room, then into new ones. Pure.
 */
import { sameJson } from '#schema/json.ts'
import type { Endpoint, EndpointPort, EndpointSlice } from '../../api/discovery/v1/endpoint-slice.ts'
import type { EndpointGroup } from './endpoints.ts'
import { portsKey } from './endpoints.ts'

const endpointsPerSlice = 100

export interface SlicePlan {
  readonly update: readonly { readonly slice: EndpointSlice; readonly endpoints: readonly Endpoint[] }[]
  readonly create: readonly { readonly ports: readonly EndpointPort[]; readonly endpoints: readonly Endpoint[] }[]
  readonly remove: readonly EndpointSlice[]
}

interface Draft {
  readonly slice: EndpointSlice
  readonly endpoints: Endpoint[]
  changed: boolean
}

const identity = (endpoint: Endpoint): string => endpoint.targetRef?.uid ?? endpoint.addresses.join(',')

/** `existing` are the service's slices of one address type. */
export function planSlices(groups: readonly EndpointGroup[], existing: readonly EndpointSlice[]): SlicePlan {
  const wanted = new Map(groups.map((group) => [portsKey(group.ports), group]))
  const remove: EndpointSlice[] = []
  const update: Draft[] = []
  const create: { ports: readonly EndpointPort[]; endpoints: readonly Endpoint[] }[] = []
  const byPorts = Map.groupBy(existing, ({ ports }) => portsKey(ports))
  for (const [key, slices] of byPorts) if (!wanted.has(key)) remove.push(...slices)
  for (const [key, group] of wanted) {
    const { drafts, left } = place(group, byPorts.get(key) ?? [])
    for (let at = 0; at < left.length; at += endpointsPerSlice) create.push({ ports: group.ports, endpoints: left.slice(at, at + endpointsPerSlice) })
    for (const draft of drafts) {
      if (draft.endpoints.length === 0) remove.push(draft.slice)
      else if (draft.changed) update.push(draft)
    }
  }
  return { update, create, remove }
}

function place(group: EndpointGroup, slices: readonly EndpointSlice[]): { readonly drafts: readonly Draft[]; readonly left: readonly Endpoint[] } {
  const missing = new Map(group.endpoints.map((endpoint) => [identity(endpoint), endpoint]))
  const drafts = slices.map((slice): Draft => {
    const endpoints: Endpoint[] = []
    let changed = false
    for (const before of slice.endpoints) {
      const now = missing.get(identity(before))
      missing.delete(identity(before))
      if (now === undefined) changed = true
      else {
        endpoints.push(now)
        changed ||= !sameJson(before, now)
      }
    }
    return { slice, endpoints, changed }
  })
  const left = [...missing.values()]
  for (const draft of drafts.toSorted((a, b) => Number(b.changed) - Number(a.changed))) {
    const taken = left.splice(0, Math.max(0, endpointsPerSlice - draft.endpoints.length))
    if (taken.length === 0) continue
    draft.endpoints.push(...taken)
    draft.changed = true
  }
  return { drafts, left }
}
