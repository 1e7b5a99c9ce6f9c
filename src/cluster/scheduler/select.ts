/** Chooses a node for one pod. Pure but for the random tie-break and the place where the next search begins. */
import type { Random } from '#base/random.ts'
import { randomInt } from '#base/random.ts'
import { explain, objections } from './filters.ts'
import type { Neighbourhood } from './neighbours.ts'
import { neighbourRule } from './neighbours.ts'
import type { NodeInfo, PodInfo } from './node-info.ts'
import { scores } from './scores.ts'

export type Selection = { readonly node: string } | { readonly refused: string }

/** At least this many fitting nodes are compared before the search ends. */
const enoughAtLeast = 100

/** In large clusters a share of the nodes is enough to choose from: 50 % at 100 nodes, 10 % at 5,000, never below 5 %. */
function enough(nodes: number): number {
  if (nodes <= enoughAtLeast) return nodes
  const percent = Math.max(5, 50 - Math.floor(nodes / 125))
  return Math.max(enoughAtLeast, Math.floor((nodes * percent) / 100))
}

export class Selector {
  readonly #random: Random
  /** The search goes on where the last one ended, so that all nodes get their turn. */
  #next = 0

  constructor(random: Random) {
    this.#random = random
  }

  select(pod: PodInfo, around: Neighbourhood): Selection {
    const { nodes } = around
    const rule = neighbourRule(pod, around)
    const limit = enough(nodes.length)
    const fitting: NodeInfo[] = []
    const reasons = new Map<string, number>()
    let looked = 0
    for (; looked < nodes.length && fitting.length < limit; looked += 1) {
      const info = nodes[(this.#next + looked) % nodes.length]
      if (info === undefined) continue
      const own = objections(pod, info)
      const found = own.length === 0 && rule !== undefined && info.node !== undefined ? rule(info.node) : own
      if (found.length === 0) fitting.push(info)
      else for (const reason of found) reasons.set(reason, (reasons.get(reason) ?? 0) + 1)
    }
    this.#next = nodes.length === 0 ? 0 : (this.#next + looked) % nodes.length
    if (fitting.length === 0) return { refused: explain(nodes.length, reasons) }
    return { node: this.#best(pod, fitting).name }
  }

  #best(pod: PodInfo, fitting: readonly NodeInfo[]): NodeInfo {
    const points = scores(pod, fitting)
    const most = Math.max(...points)
    const best = fitting.filter((_, index) => points[index] === most)
    return best[best.length === 1 ? 0 : randomInt(this.#random, best.length)] ?? best[0] ?? fitting[0] ?? unreachableEmpty()
  }
}

function unreachableEmpty(): never {
  throw new RangeError('no node to choose from')
}
