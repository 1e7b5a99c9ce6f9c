/**
 * What must hold whatever happens. `watchInvariants` judges every single change of the store; `checkMachines` looks at what
 * really runs; `quietProblems` says what has not come to rest, or came to rest wrong, once faults are over.
 */
import type { Deployment } from '#cluster/api/apps/v1/deployment.ts'
import type { ReplicaSet } from '#cluster/api/apps/v1/replica-set.ts'
import type { Node } from '#cluster/api/core/v1/node.ts'
import type { Pod } from '#cluster/api/core/v1/pod.ts'
import type { Service } from '#cluster/api/core/v1/service.ts'
import type { EndpointSlice } from '#cluster/api/discovery/v1/endpoint-slice.ts'
import { sameJson, type JsonObject } from '#schema/json.ts'
import { milliUnits } from '#schema/quantity.ts'
import { valueAt } from '#schema/selector.ts'
import type { HistoryEntry } from './history.ts'
import type { World } from './world.ts'

type Report = (violation: string) => void

/** The history holds what has passed through the kinds' schemas. */
const typed = <T>(object: JsonObject): T => object as unknown as T

export const holdFinalizer = 'sim.berth.dev/hold'

/** `released`: names of objects whose holder has begun to take its finalizer off. */
export function watchInvariants(world: World, report: Report, released: ReadonlySet<string>): void {
  world.history.onEntry((entry) => {
    const { object, previous, name, kind, revision } = entry
    const held = previous !== undefined && finalizersOf(previous).includes(holdFinalizer)
    if (object === undefined && held && !released.has(name)) report(`${kind} ${name} was removed at ${revision} although it has the finalizer ${holdFinalizer}`)
    if (object === undefined || previous === undefined || uidOf(object) !== uidOf(previous)) {
      if (kind === 'Pod' && object !== undefined) checkBinding(world, entry, report)
      return
    }
    checkGeneration(entry, report)
    if (kind === 'Pod') checkBinding(world, entry, report)
  })
}

const text = (value: unknown): string => (typeof value === 'string' ? value : '')
const uidOf = (object: JsonObject): string => text(valueAt(object, 'metadata.uid'))
const number = (value: unknown): number => (typeof value === 'number' ? value : 0)

function finalizersOf(object: JsonObject): readonly unknown[] {
  const finalizers = valueAt(object, 'metadata.finalizers')
  return Array.isArray(finalizers) ? finalizers : []
}

function checkGeneration({ object, previous, kind, name, revision }: HistoryEntry, report: Report): void {
  if (object === undefined || previous === undefined) return
  const [before, after] = [number(valueAt(previous, 'metadata.generation')), number(valueAt(object, 'metadata.generation'))]
  if (after < before) report(`${kind} ${name}: generation went from ${before} back to ${after} at ${revision}`)
  const counted = kind === 'Deployment' || kind === 'ReplicaSet'
  if (counted && after === before && !sameJson(previous['spec'], object['spec'])) report(`${kind} ${name}: the spec changed at ${revision} and the generation did not`)
  if (counted && number(valueAt(object, 'status.observedGeneration')) > after) report(`${kind} ${name}: observedGeneration is ahead of generation ${after} at ${revision}`)
}

/** A pod is bound once, and only where there is room. */
function checkBinding(world: World, { object, previous, name, revision }: HistoryEntry, report: Report): void {
  if (object === undefined) return
  const to = text(valueAt(object, 'spec.nodeName'))
  const from = previous === undefined || uidOf(previous) !== uidOf(object) ? '' : text(valueAt(previous, 'spec.nodeName'))
  if (to === from) return
  if (from !== '') return report(`Pod ${name} was moved from ${from} to ${to} at ${revision}`)
  const node = world.history.current('Node').map(typed<Node>).find(({ metadata }) => metadata.name === to)
  if (node === undefined) return
  const pods = world.history.current('Pod').map(typed<Pod>).filter(({ spec, status }) => spec.nodeName === to && status.phase !== 'Succeeded' && status.phase !== 'Failed')
  const cpu = pods.reduce((sum, { spec }) => sum + spec.containers.reduce((own, { resources }) => own + milliUnits(resources?.requests?.['cpu'] ?? '0'), 0), 0)
  const room = node.status.allocatable
  if (cpu > milliUnits(room?.['cpu'] ?? '0')) report(`node ${to} is overcommitted at ${revision}: ${cpu}m of ${room?.['cpu']} cpu, with Pod ${name}`)
  if (pods.length > Number(room?.['pods'] ?? 0)) report(`node ${to} has ${pods.length} pods at ${revision}, it takes ${room?.['pods']}`)
}

/** Containers of one pod run on one machine at most, and on the one it is bound to. */
export async function checkMachines(world: World, report: Report): Promise<void> {
  const places = new Map<string, string>()
  const bound = new Map(world.history.current('Pod').map(typed<Pod>).map(({ metadata, spec }) => [metadata.uid, spec.nodeName ?? '']))
  for (const { name, runtime } of world.nodes) {
    for (const { pod, state } of await runtime.containers()) {
      if (state !== 'running') continue
      const elsewhere = places.get(pod.uid)
      if (elsewhere !== undefined && elsewhere !== name) report(`Pod ${pod.name} runs on ${elsewhere} and on ${name}`)
      places.set(pod.uid, name)
      const expected = bound.get(pod.uid)
      if (expected !== undefined && expected !== name) report(`Pod ${pod.name} is bound to ${expected} and runs on ${name}`)
    }
  }
}

const isReady = ({ status }: Pod): boolean => status.conditions?.some(({ type, status: value }) => type === 'Ready' && value === 'True') === true
const ownedBy = (object: Pod | ReplicaSet, uid: string): boolean => object.metadata.ownerReferences?.some((owner) => owner.controller === true && owner.uid === uid) === true

/** Empty when the cluster has come to rest as it should. `broken`: `namespace/name` of Deployments whose newest image never gets ready. */
export async function quietProblems(world: World, broken: ReadonlySet<string>): Promise<string[]> {
  const { history } = world
  const problems: string[] = []
  const pods = history.current('Pod').map(typed<Pod>)
  const sets = history.current('ReplicaSet').map(typed<ReplicaSet>)
  const deployments = history.current('Deployment').map(typed<Deployment>)
  for (const node of history.current('Node').map(typed<Node>)) {
    const ready = node.status.conditions?.find(({ type }) => type === 'Ready')?.status
    if (ready !== 'True' || (node.spec.taints ?? []).length > 0) problems.push(`node ${node.metadata.name} is Ready=${ready} with ${node.spec.taints?.length ?? 0} taints`)
  }
  for (const { metadata, status } of history.current('Namespace').map(typed<Deployment>)) {
    if (metadata.deletionTimestamp !== undefined) problems.push(`namespace ${metadata.name} is still being deleted: ${JSON.stringify(status)}`)
  }
  for (const deployment of deployments) problems.push(...deploymentProblems(deployment, sets, broken.has(`${deployment.metadata.namespace}/${deployment.metadata.name}`)))
  for (const set of sets) problems.push(...setProblems(set, pods, deployments))
  for (const pod of pods) problems.push(...podProblems(pod, sets))
  problems.push(...endpointProblems(world, pods))
  problems.push(...(await machineProblems(world, pods)))
  return problems
}

function deploymentProblems({ metadata, spec, status }: Deployment, sets: readonly ReplicaSet[], isBroken: boolean): string[] {
  const about = `deployment ${metadata.namespace}/${metadata.name}`
  if (status.observedGeneration !== metadata.generation) return [`${about}: generation ${metadata.generation}, observed ${status.observedGeneration}`]
  const own = sets.filter((set) => ownedBy(set, metadata.uid))
  const total = own.reduce((sum, set) => sum + set.spec.replicas, 0)
  if (isBroken) return total > spec.replicas + 4 ? [`${about}: ${total} replicas in its sets for ${spec.replicas}`] : []
  const { replicas = 0, updatedReplicas = 0, availableReplicas = 0, unavailableReplicas = 0 } = status
  const done = replicas === spec.replicas && updatedReplicas === spec.replicas && availableReplicas === spec.replicas && unavailableReplicas === 0 && total === spec.replicas
  return done ? [] : [`${about}: wants ${spec.replicas}, has ${replicas}, updated ${updatedReplicas}, available ${availableReplicas}, in sets ${total}`]
}

function setProblems({ metadata, spec, status }: ReplicaSet, pods: readonly Pod[], deployments: readonly Deployment[]): string[] {
  const about = `replica set ${metadata.namespace}/${metadata.name}`
  const problems: string[] = []
  const owner = metadata.ownerReferences?.find(({ controller }) => controller === true)
  if (owner !== undefined && !deployments.some((deployment) => deployment.metadata.uid === owner.uid)) problems.push(`${about} outlives its deployment`)
  const own = pods.filter((pod) => ownedBy(pod, metadata.uid) && pod.metadata.deletionTimestamp === undefined && pod.status.phase !== 'Failed')
  if (own.length !== spec.replicas) problems.push(`${about} wants ${spec.replicas} pods and has ${own.length}`)
  if (status.replicas !== spec.replicas) problems.push(`${about} wants ${spec.replicas} and reports ${status.replicas}`)
  if (status.observedGeneration !== metadata.generation) problems.push(`${about}: generation ${metadata.generation}, observed ${status.observedGeneration}`)
  return problems
}

function podProblems({ metadata, spec }: Pod, sets: readonly ReplicaSet[]): string[] {
  const about = `pod ${metadata.namespace}/${metadata.name}`
  const owner = metadata.ownerReferences?.find(({ controller }) => controller === true)
  if (metadata.deletionTimestamp !== undefined) return [`${about} on '${spec.nodeName ?? ''}' is still being deleted`]
  if (owner !== undefined && !sets.some((set) => set.metadata.uid === owner.uid)) return [`${about} outlives its replica set`]
  return (spec.nodeName ?? '') === '' ? [`${about} has no node`] : []
}

/** Every Service's ready endpoints are its ready pods, no more and no fewer. */
function endpointProblems(world: World, pods: readonly Pod[]): string[] {
  const problems: string[] = []
  const slices = world.history.current('EndpointSlice').map(typed<EndpointSlice>)
  for (const { metadata, spec } of world.history.current('Service').map(typed<Service>)) {
    const selector = Object.entries(spec.selector ?? {})
    if (selector.length === 0) continue
    const wanted = pods
      .filter((pod) => pod.metadata.namespace === metadata.namespace && selector.every(([name, value]) => pod.metadata.labels?.[name] === value))
      .filter((pod) => isReady(pod) && pod.metadata.deletionTimestamp === undefined && pod.status.phase === 'Running')
      .map((pod) => `${pod.metadata.name} ${pod.status.podIP}`)
    const told = slices
      .filter((slice) => slice.metadata.namespace === metadata.namespace && slice.metadata.labels?.['kubernetes.io/service-name'] === metadata.name)
      .flatMap(({ endpoints }) => endpoints.filter(({ conditions }) => conditions.ready === true))
      .map(({ targetRef, addresses }) => `${targetRef?.name} ${addresses[0]}`)
    const [a, b] = [wanted.toSorted().join(', '), told.toSorted().join(', ')]
    if (a !== b) problems.push(`service ${metadata.name}: ready pods are [${a}], its endpoints are [${b}]`)
  }
  return problems
}

/** What runs is what the API says, and nothing besides. */
async function machineProblems(world: World, pods: readonly Pod[]): Promise<string[]> {
  const problems: string[] = []
  const byUid = new Map(pods.map((pod) => [pod.metadata.uid, pod]))
  const running = new Set<string>()
  for (const { name, runtime } of world.nodes) {
    for (const { pod, state } of await runtime.containers()) {
      if (state !== 'running') continue
      running.add(pod.uid)
      if (byUid.get(pod.uid)?.spec.nodeName !== name) problems.push(`${name} runs a container of pod ${pod.name}, which the API ${byUid.has(pod.uid) ? 'has elsewhere' : 'does not have'}`)
    }
  }
  for (const pod of pods) if (isReady(pod) && !running.has(pod.metadata.uid)) problems.push(`pod ${pod.metadata.name} is Ready and nothing of it runs`)
  return problems
}
