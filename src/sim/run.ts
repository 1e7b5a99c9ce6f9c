/**
 * One seed, from the first boot to rest: a cluster comes up, users and faults have their way with it, then everything is
 * healed and must come to rest as asked. The same seed gives the same transcript.
 */
import type { Logger } from '#base/log.ts'
import { silentLogger } from '#base/log.ts'
import { Deployment } from '#cluster/api/apps/v1/deployment.ts'
import { ConfigMap } from '#cluster/api/core/v1/config-map.ts'
import { Namespace } from '#cluster/api/core/v1/namespace.ts'
import { Node } from '#cluster/api/core/v1/node.ts'
import { Counter } from './counter.ts'
import { checkMachines, quietProblems, watchInvariants } from './invariants.ts'
import { checkCaches, checkFreshness, checkGet, checkList, checkReplay, observedKinds, WatchObserver } from './observers.ts'
import { countingLinks, createDeployment, createService, isBroken, step } from './scenario.ts'
import type { ScenarioState } from './scenario.ts'
import { World } from './world.ts'

export interface RunOptions {
  /** Machines; 10 unless told otherwise. */
  readonly nodes?: number
  /** Things that happen; 40 unless told otherwise. */
  readonly steps?: number
  readonly log?: Logger
}

export interface RunResult {
  /** What happened, line by line: changes of the store, and what the scenario did (`# …`). */
  readonly transcript: readonly string[]
  /** Empty when all invariants held and the cluster came to rest. */
  readonly violations: readonly string[]
  readonly virtualSeconds: number
  readonly revisions: bigint
}

const mostViolations = 20

export async function runSeed(seed: number, { nodes = 10, steps = 40, log = silentLogger }: RunOptions = {}): Promise<RunResult> {
  const violations: string[] = []
  const transcript: string[] = []
  const world = new World({
    seed, nodes, log,
    capacity: { cpu: '2', memory: '4Gi', pods: '12' },
    program: ({ imageReference }) => (isBroken(imageReference) ? { exitAfterMs: 500, exitCode: 1 } : { stopAfterMs: 300 }),
  })
  const startedMs = world.clock.nowMs()
  const report = (violation: string): void => {
    if (violations.length < mostViolations) violations.push(`${((world.clock.nowMs() - startedMs) / 1000).toFixed(3)}: ${violation}`)
  }
  const random = world.random.fork('scenario')
  const state: ScenarioState = {
    world, random,
    counter: new Counter(),
    counting: countingLinks(world, random, 3),
    released: new Set(),
    broken: new Set(),
    held: 0,
    log(line) {
      transcript.push(...world.transcript.take(), `# ${line}`)
    },
  }
  watchInvariants(world, report, state.released)
  try {
    await play(state, { steps, report })
  } catch (error) {
    report(`the run broke: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
  }
  await world.close()
  transcript.push(...world.transcript.take())
  return { transcript, violations: [...world.history.violations, ...violations], virtualSeconds: (world.clock.nowMs() - startedMs) / 1000, revisions: world.history.store.revision() }
}

interface Play {
  readonly steps: number
  readonly report: (violation: string) => void
}

async function play(state: ScenarioState, { steps, report }: Play): Promise<void> {
  const { world, random } = state
  await world.start()
  const observers = observedKinds.map((kind) => new WatchObserver(world, kind, report))
  for (const observer of observers) observer.attach()
  await world.clock.advance(2000)
  await begin(state)
  for (let count = 0; count < steps; count += 1) {
    await step(state)
    for (const observer of observers) observer.attach()
    await world.clock.advance(random.pick([10, 100, 500, 1000, 3000, 10_000, 30_000]))
    await inspect(state, observers, report)
  }
  await rest(state, observers, report)
  for (const observer of observers) observer.detach()
}

async function begin({ world, counter, log }: ScenarioState): Promise<void> {
  const { user } = world
  await createDeployment(user, { namespace: 'default', name: 'web' }, { replicas: 6, cpu: '300m' })
  await createService(user, { namespace: 'default', name: 'web' })
  await createDeployment(user, { namespace: 'default', name: 'api' }, { replicas: 3, cpu: '700m', surge: 1 })
  await createService(user, { namespace: 'default', name: 'api' })
  await counter.create(user)
  await world.clock.advance(5000)
  log('the cluster is up')
}

/** What can be judged at any moment. */
async function inspect({ world, random }: ScenarioState, observers: readonly WatchObserver[], report: (violation: string) => void): Promise<void> {
  for (const observer of observers) observer.check(false)
  await checkMachines(world, report)
  const kind = random.pick(observedKinds)
  if (random.chance(0.5)) await checkReplay(world, kind, report)
  if (random.chance(0.5)) await checkList(world, kind, report)
  await checkGet(world, kind, report)
  await checkFreshness(world, report)
}

/** Everything is healed; then all must come to rest within half an hour. */
async function rest(state: ScenarioState, observers: readonly WatchObserver[], report: (violation: string) => void): Promise<void> {
  const { world, broken, log, released, counter } = state
  await world.heal()
  // What was on its way while things were slow still arrives.
  await world.clock.advance(5000)
  for (const observer of observers) observer.attach()
  for (const { metadata } of (await world.user.list(Node)).items) await world.user.patch(Node, { name: metadata.name }, { spec: { unschedulable: false } }, { type: 'merge' })
  log('everything is healed')
  await converge(state, report)
  for (const observer of observers) observer.check(true)
  await checkMachines(world, report)
  for (const kind of observedKinds) {
    await checkReplay(world, kind, report)
    await checkList(world, kind, report)
  }
  checkCaches(world, report)
  const miscounted = await counter.problem(world.user)
  if (miscounted !== undefined) report(miscounted)
  for (const object of (await world.user.list(ConfigMap)).items.filter(({ metadata }) => metadata.deletionTimestamp !== undefined)) {
    released.add(`${object.metadata.namespace}/${object.metadata.name}`)
    await world.user.update(ConfigMap, { ...object, metadata: { ...object.metadata, finalizers: [] } })
  }
  for (const { metadata } of (await world.user.list(Deployment)).items) await world.user.delete(Deployment, metadata)
  for (const { metadata } of (await world.user.list(Namespace)).items) if (metadata.name.startsWith('tenant-')) await world.user.delete(Namespace, metadata)
  broken.clear()
  log('everything is deleted')
  await converge(state, report)
  const left = world.history.current('Pod').length + world.history.current('ReplicaSet').length
  if (left > 0) report(`${left} pods and replica sets are left after all deployments were deleted`)
}

const restLimitMs = 1_800_000
const restStepMs = 10_000

async function converge({ world, broken }: ScenarioState, report: (violation: string) => void): Promise<void> {
  let problems: string[] = []
  for (let waitedMs = 0; waitedMs < restLimitMs; waitedMs += restStepMs) {
    await world.clock.advance(restStepMs)
    problems = await quietProblems(world, broken)
    if (problems.length === 0) return
  }
  for (const problem of problems) report(`does not come to rest: ${problem}`)
}
