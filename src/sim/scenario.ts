/** What happens to a simulated cluster: what its users ask for, and what breaks. Every choice comes from the seed. */
import { isFault } from '#base/fault.ts'
import { Deployment } from '#cluster/api/apps/v1/deployment.ts'
import { ConfigMap } from '#cluster/api/core/v1/config-map.ts'
import { Namespace } from '#cluster/api/core/v1/namespace.ts'
import { Node } from '#cluster/api/core/v1/node.ts'
import { Pod } from '#cluster/api/core/v1/pod.ts'
import { Service } from '#cluster/api/core/v1/service.ts'
import type { Client } from '#cluster/contract/client.ts'
import type { Counter } from './counter.ts'
import { holdFinalizer } from './invariants.ts'
import type { Link } from './link.ts'
import { openLink } from './link.ts'
import type { SeededRandom } from './random.ts'
import type { World } from './world.ts'

export interface ScenarioState {
  readonly world: World
  readonly random: SeededRandom
  readonly counter: Counter
  /** Connections of the counting clients. */
  readonly counting: readonly Link[]
  /** Names of objects whose finalizer is being taken off. */
  readonly released: Set<string>
  /** `namespace/name` of Deployments whose newest image never gets ready. */
  readonly broken: Set<string>
  readonly log: (line: string) => void
  held: number
}

interface Action {
  readonly name: string
  readonly weight: number
  readonly run: (state: ScenarioState) => Promise<string | void> | string | void
}

const brokenImage = 'app:broken'
export const isBroken = (image: string): boolean => image === brokenImage

export async function createDeployment(client: Client, ref: { readonly namespace: string; readonly name: string }, options: { readonly replicas: number; readonly cpu: string; readonly surge?: number | string }): Promise<void> {
  const { replicas, cpu, surge = '25%' } = options
  const { name } = ref
  await client.create(Deployment, {
    metadata: ref,
    spec: {
      replicas,
      selector: { matchLabels: { app: name } },
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: surge, maxUnavailable: '25%' } },
      template: {
        metadata: { labels: { app: name } },
        spec: { terminationGracePeriodSeconds: 10, containers: [{ name: 'main', image: 'app:1', ports: [{ name: 'http', containerPort: 8080 }], resources: { requests: { cpu } } }] },
      },
    },
  })
}

export async function createService(client: Client, ref: { readonly namespace: string; readonly name: string }): Promise<void> {
  await client.create(Service, { metadata: ref, spec: { selector: { app: ref.name }, ports: [{ port: 80, targetPort: 'http' }] } })
}

async function someDeployment({ world, random }: ScenarioState): Promise<Deployment | undefined> {
  const { items } = await world.user.list(Deployment)
  const alive = items.filter(({ metadata }) => metadata.deletionTimestamp === undefined)
  return alive.length === 0 ? undefined : random.pick(alive)
}

async function roll(state: ScenarioState, image: string): Promise<string | void> {
  const deployment = await someDeployment(state)
  if (deployment === undefined) return
  const { namespace, name } = deployment.metadata
  const [container] = deployment.spec.template.spec.containers
  await state.world.user.patch(Deployment, { namespace, name }, { spec: { template: { spec: { containers: [{ ...container, image }] } } } }, { type: 'merge' })
  if (isBroken(image)) state.broken.add(`${namespace}/${name}`)
  else state.broken.delete(`${namespace}/${name}`)
  return `${name} to ${image}`
}

const user: readonly Action[] = [
  { name: 'roll out', weight: 6, run: (state) => roll(state, `app:${state.random.between(1, 4)}`) },
  { name: 'roll out what never gets ready', weight: 1, run: (state) => roll(state, brokenImage) },
  {
    name: 'scale', weight: 6,
    async run(state) {
      const deployment = await someDeployment(state)
      if (deployment === undefined) return
      const replicas = state.random.int(9)
      const { namespace, name } = deployment.metadata
      await state.world.user.patch(Deployment, { namespace, name }, { spec: { replicas } }, { type: 'merge' })
      return `${name} to ${replicas}`
    },
  },
  {
    name: 'delete a pod', weight: 3,
    async run({ world, random }) {
      const { items } = await world.user.list(Pod)
      if (items.length === 0) return
      const { metadata } = random.pick(items)
      await world.user.delete(Pod, metadata, { preconditions: { uid: metadata.uid } })
      return metadata.name
    },
  },
  {
    name: 'delete a deployment and make another', weight: 1,
    async run(state) {
      const deployment = await someDeployment(state)
      if (deployment === undefined) return
      const { namespace, name } = deployment.metadata
      const propagationPolicy = state.random.pick(['Background', 'Foreground'] as const)
      await state.world.user.delete(Deployment, { namespace, name }, { propagationPolicy })
      state.broken.delete(`${namespace}/${name}`)
      const next = `${name.split('-')[0]}-${state.random.int(1000)}`
      await createDeployment(state.world.user, { namespace, name: next }, { replicas: state.random.between(1, 5), cpu: '300m', surge: 1 })
      return `${name} (${propagationPolicy}), then ${next}`
    },
  },
  {
    name: 'a namespace with content', weight: 1,
    async run({ world, random }) {
      const name = `tenant-${random.int(1000)}`
      await world.user.create(Namespace, { metadata: { name } })
      await createDeployment(world.user, { namespace: name, name: 'guest' }, { replicas: 2, cpu: '100m' })
      await createService(world.user, { namespace: name, name: 'guest' })
      return name
    },
  },
  {
    name: 'delete a namespace', weight: 1,
    async run({ world, random }) {
      const { items } = await world.user.list(Namespace)
      const tenants = items.filter(({ metadata }) => metadata.name.startsWith('tenant-') && metadata.deletionTimestamp === undefined)
      if (tenants.length === 0) return
      const { name } = random.pick(tenants).metadata
      await world.user.delete(Namespace, { name })
      return name
    },
  },
  {
    name: 'delete something that is held', weight: 2,
    async run(state) {
      const name = `held-${state.held++}`
      const { user: client } = state.world
      await client.create(ConfigMap, { metadata: { namespace: 'default', name, finalizers: [holdFinalizer] } })
      await client.delete(ConfigMap, { namespace: 'default', name })
      return name
    },
  },
  {
    name: 'let go of something held', weight: 2,
    async run({ world, random, released }) {
      const { items } = await world.user.list(ConfigMap)
      const held = items.filter(({ metadata }) => metadata.finalizers?.includes(holdFinalizer) === true)
      if (held.length === 0) return
      const object = random.pick(held)
      const { namespace, name } = object.metadata
      released.add(`${namespace}/${name}`)
      await world.user.update(ConfigMap, { ...object, metadata: { ...object.metadata, finalizers: [] } })
      return name
    },
  },
  {
    name: 'count', weight: 4,
    run({ counter, counting }) {
      // Side by side, so that they get in each other's way.
      for (const link of counting) void counter.increment(link.client)
    },
  },
  {
    name: 'cordon or uncordon', weight: 1,
    async run({ world, random }) {
      const { items } = await world.user.list(Node)
      if (items.length === 0) return
      const { metadata, spec } = random.pick(items)
      const unschedulable = spec.unschedulable !== true
      await world.user.patch(Node, { name: metadata.name }, { spec: { unschedulable } }, { type: 'merge' })
      return `${metadata.name} ${unschedulable ? 'off' : 'on'}`
    },
  },
  {
    name: 'a late binding of a pod that has a node', weight: 3,
    async run({ world, random }) {
      const { items } = await world.user.list(Pod)
      const bound = items.filter(({ spec, metadata }) => (spec.nodeName ?? '') !== '' && metadata.deletionTimestamp === undefined)
      if (bound.length === 0) return
      const { metadata } = random.pick(bound)
      const target = { apiVersion: 'v1', kind: 'Node', name: random.pick(world.nodes).name }
      try {
        await world.user.createSubresource(Pod, metadata, 'binding', { metadata: { name: metadata.name, namespace: metadata.namespace }, target })
      } catch (error) {
        if (!isFault(error, 'conflict')) throw error
        return `${metadata.name}: refused`
      }
      return `${metadata.name}: accepted`
    },
  },
]

const faults: readonly Action[] = [
  {
    name: 'a machine crashes', weight: 3,
    run({ world, random }) {
      const alive = world.nodes.filter((node) => node.alive)
      if (alive.length <= 6) return
      const node = random.pick(alive)
      node.crash()
      return node.name
    },
  },
  {
    name: 'a machine comes back', weight: 4,
    run({ world, random }) {
      const dead = world.nodes.filter((node) => !node.alive)
      if (dead.length === 0) return
      const node = random.pick(dead)
      node.start()
      return node.name
    },
  },
  {
    name: 'an agent restarts', weight: 2,
    run({ world, random }) {
      const alive = world.nodes.filter((node) => node.alive)
      if (alive.length === 0) return
      const node = random.pick(alive)
      node.killAgent()
      node.start()
      return node.name
    },
  },
  {
    name: 'a machine is cut off, or joined again', weight: 2,
    run({ world, random }) {
      const alive = world.nodes.flatMap(({ name, link }) => (link === undefined ? [] : [{ name, link }]))
      const cutOff = alive.filter(({ link }) => link.partitioned)
      if (alive.length === 0) return
      const { name, link } = random.pick(cutOff.length > 1 ? cutOff : alive)
      link.partitioned = !link.partitioned
      return `${name} ${link.partitioned ? 'off' : 'on'}`
    },
  },
  {
    name: 'controllers or scheduler are cut off for a while', weight: 4,
    async run({ world, random }) {
      const link = random.pick(world.controlLinks)
      const { weather } = link
      link.partitioned = true
      await world.clock.advance(random.int(20_000))
      link.partitioned = false
      const compacted = random.chance(0.5)
      // What happened meanwhile is compacted: every watch has to begin with a new list.
      if (compacted) link.weather = { ...weather, expireWatch: 1 }
      await world.clock.advance(2000)
      link.weather = weather
      return compacted ? 'and find that what they missed is compacted' : ''
    },
  },
  {
    name: 'the controllers restart', weight: 2,
    run({ world }) {
      world.killControllers()
      world.startControllers()
    },
  },
  {
    name: 'the scheduler restarts', weight: 2,
    run({ world }) {
      world.killScheduler()
      world.startScheduler()
    },
  },
  {
    name: 'the API server restarts', weight: 2,
    async run({ world, random }) {
      world.stopServer()
      await world.clock.advance(random.int(3000))
      await world.startServer()
    },
  },
  {
    name: 'the store is compacted', weight: 2,
    async run({ world, random }) {
      const { store } = world.history
      const target = store.revision() - BigInt(random.int(30))
      if (target > store.compactedRevision()) await store.compact(target)
      return String(target)
    },
  },
  {
    name: 'the weather changes', weight: 4,
    run({ world, random }) {
      const bad = random.chance(0.6)
      const weather = bad
        ? { latencyMs: random.int(200), loseRequest: random.int(10) / 100, loseAnswer: random.int(10) / 100, breakWatch: random.int(5) / 100, expireWatch: random.int(20) / 100, stallMs: random.int(20_000) }
        : { latencyMs: random.int(20), loseRequest: 0, loseAnswer: 0, breakWatch: 0, expireWatch: 0, stallMs: 0 }
      world.setWeather(weather)
      return bad ? 'bad' : 'fair'
    },
  },
  {
    name: 'the disk changes its pace', weight: 2,
    run({ world, random }) {
      const slow = random.chance(0.6)
      world.setSlowness(slow ? { commitMs: random.between(1, 200), feedMs: random.between(1, 300) } : { commitMs: 0, feedMs: 0 })
      return slow ? 'slow' : 'quick'
    },
  },
]

function choose(random: SeededRandom, actions: readonly Action[]): Action {
  let at = random.int(actions.reduce((sum, { weight }) => sum + weight, 0))
  for (const action of actions) {
    at -= action.weight
    if (at < 0) return action
  }
  throw new RangeError('no action to choose from')
}

/** One thing happens. What a user is refused because the server is away, or somebody else was faster, is no violation. */
export async function step(state: ScenarioState): Promise<void> {
  const { random, world, log } = state
  const action = choose(random, random.chance(0.5) ? user : faults)
  let settled = false
  const attempt = async (): Promise<void> => {
    try {
      const detail = await action.run(state)
      log(`${action.name}${typeof detail === 'string' ? `: ${detail}` : ''}`)
    } catch (error) {
      if (!isFault(error)) throw error
      log(`${action.name}: ${error.code}`)
      if (!['unavailable', 'timeout', 'conflict', 'notFound', 'alreadyExists', 'permissionDenied'].includes(error.code)) throw error
    } finally {
      settled = true
    }
  }
  const running = attempt()
  // Time passes while the user waits.
  await world.clock.runUntil(() => settled, 120_000)
  await running
}

export function countingLinks(world: World, random: SeededRandom, count: number): Link[] {
  return Array.from({ length: count }, (_, index) => {
    const link = openLink({ clock: world.clock, random: random.fork(`counter ${index}`), server: () => world.server?.client })
    link.weather = { latencyMs: 50, loseRequest: 0.05, loseAnswer: 0.05, breakWatch: 0, expireWatch: 0, stallMs: 0 }
    return link
  })
}
