/** What pods request and nodes offer, as plain numbers: thousandths of a core for `cpu`, whole units for all else. Pure. */
import { milliUnits, wholeUnits } from '#schema/quantity.ts'
import type { Pod } from '../api/core/v1/pod.ts'

/** By resource name; absent is zero. */
export type Amounts = Readonly<Record<string, number>>

/** Every pod takes one of what a node offers under this name. */
export const podSlots = 'pods'

export function amountsOf(quantities: Readonly<Record<string, string>> | undefined): Amounts {
  const amounts: Record<string, number> = {}
  for (const [name, quantity] of Object.entries(quantities ?? {})) amounts[name] = name === 'cpu' ? milliUnits(quantity) : Number(wholeUnits(quantity))
  return amounts
}

export function plus(a: Amounts, b: Amounts): Amounts {
  const sum: Record<string, number> = { ...a }
  for (const [name, amount] of Object.entries(b)) sum[name] = (sum[name] ?? 0) + amount
  return sum
}

export function minus(a: Amounts, b: Amounts): Amounts {
  const rest: Record<string, number> = { ...a }
  for (const [name, amount] of Object.entries(b)) rest[name] = (rest[name] ?? 0) - amount
  return rest
}

function atLeast(a: Amounts, b: Amounts): Amounts {
  const most: Record<string, number> = { ...a }
  for (const [name, amount] of Object.entries(b)) most[name] = Math.max(most[name] ?? 0, amount)
  return most
}

/**
 * What a pod needs at its hungriest moment ("Init Containers: Resource sharing", "Sidecar Containers"): either all
 * containers with all sidecars, or one init container with the sidecars started before it; plus the overhead.
 */
export function podRequests({ spec }: Pod): Amounts {
  let sidecars: Amounts = {}
  let peak: Amounts = {}
  for (const container of spec.initContainers ?? []) {
    const requests = amountsOf(container.resources?.requests)
    if (container.restartPolicy === 'Always') {
      sidecars = plus(sidecars, requests)
      peak = atLeast(peak, sidecars)
    } else peak = atLeast(peak, plus(sidecars, requests))
  }
  let all = sidecars
  for (const container of spec.containers) all = plus(all, amountsOf(container.resources?.requests))
  const most = plus(atLeast(all, peak), amountsOf(spec.overhead))
  return { ...most, [podSlots]: 1 }
}
