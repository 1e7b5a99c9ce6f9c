/**
 * `npm run soak -- containers [--count 2000] [--parallel 16] [--seed N] [--no-kills]`: so many containers started and removed, the
 * engine killed (-9) at random moments, also while it comes back. Afterwards nothing is left of them on the machine, and every
 * container the engine told of is there. `--no-kills`: the same on one engine that lives, whose memory and descriptors must not grow.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { busyboxArchive } from '../../bench/engines.ts'
import { instanceOf } from '../../src/apps/config/instance.ts'
import { nftTables } from '../../src/apps/config/names.ts'
import { DockerConnection } from '../../src/cli/docker/connection.ts'
import { seededRandom, type SeededRandom } from '../../src/sim/random.ts'
import { type BerthInstance, createInstance, enterNamespaces } from '../instance.ts'
import { PatientClient } from './containers/client.ts'
import { difference, nodePid, type Place, takeInventory, weigh, type Weight } from './containers/inventory.ts'
import { image, type Ledger, removeKept, tellStory, verifyKept } from './containers/scenarios.ts'

/** How long the engine's clearing in the background may take once nobody asks for anything. */
const restWithinMs = 30_000
const mib = 1024 * 1024
/** An engine that has seen thousands of containers may hold so much more than one that has seen a few. */
const mayGrow = { pssBytes: 40 * mib, descriptors: 8, threads: 2 }

interface Plan {
  readonly count: number
  readonly parallel: number
  readonly seed: number
  readonly kills: boolean
}

function planOf(args: readonly string[]): Plan {
  const { values } = parseArgs({
    args: [...args],
    options: { count: { type: 'string', default: '2000' }, parallel: { type: 'string', default: '16' }, seed: { type: 'string', default: String(process.pid * 31 + Math.floor(performance.now())) }, 'no-kills': { type: 'boolean', default: false } },
  })
  const [count, parallel, seed] = [Number(values.count), Number(values.parallel), Number(values.seed)]
  if (![count, parallel, seed].every(Number.isInteger) || count < 1 || parallel < 1) throw new RangeError('--count, --parallel and --seed take whole numbers')
  return { count, parallel, seed, kills: !values['no-kills'] }
}

async function loadImage(instance: BerthInstance): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'so-'))
  const archive = readFileSync(busyboxArchive(folder))
  rmSync(folder, { recursive: true })
  const engine = new DockerConnection(`${instance.root}/run/docker.sock`)
  const answer = await engine.stream({ method: 'POST', path: '/images/create', query: { fromSrc: '-', repo: image.split(':')[0], tag: image.split(':')[1] }, stream: Readable.from([archive]), headers: { 'Content-Type': 'application/x-tar' } })
  for await (const _ of answer) continue
  engine.close()
}

/** So many stories, `parallel` at a time. The first failures are kept, the others counted. */
async function tellAll(instance: BerthInstance, plan: Plan, ledger: Ledger): Promise<{ readonly failures: string[]; readonly cutOff: number }> {
  const failures: string[] = []
  let [next, cutOff] = [0, 0]
  const worker = async (): Promise<void> => {
    const client = new PatientClient(`${instance.root}/run/docker.sock`)
    for (let number = next++; number < plan.count; number = next++) {
      const name = `s${plan.seed}-${number}`
      try {
        await tellStory({ client, random: seededRandom(plan.seed).fork(name), ledger, name })
      } catch (error) {
        failures.push(`${name}: ${error instanceof Error ? error.message : String(error)}`)
        if (failures.length <= 30) console.log(`  ${failures.at(-1)}`)
      }
      if ((number + 1) % 250 === 0) console.log(`  ${number + 1} containers, ${failures.length} failures`)
    }
    cutOff += client.cutOff
    client.close()
  }
  await Promise.all(Array.from({ length: plan.parallel }, worker))
  return { failures, cutOff }
}

async function untilServed(instance: BerthInstance): Promise<void> {
  const client = new PatientClient(`${instance.root}/run/docker.sock`)
  await client.ask({ method: 'GET', path: '/containers/json' })
  client.close()
}

/** kill -9 at random moments until told to stop; one in four comes while the engine is still coming back from the one before. */
async function killUntil(done: AbortSignal, place: Place, parts: { readonly random: SeededRandom; readonly instance: BerthInstance }): Promise<number> {
  let kills = 0
  while (!done.aborted) {
    await delay(parts.random.between(300, 3000))
    if (done.aborted) break
    const pid = nodePid(place)
    if (pid < 2) continue
    try {
      process.kill(pid, 'SIGKILL')
      kills += 1
    } catch (error) {
      if (!(error instanceof Error) || !('code' in error) || error.code !== 'ESRCH') throw error
    }
    if (!parts.random.chance(0.25)) await untilServed(parts.instance)
  }
  return kills
}

/** The machine as it is once it no longer changes: what the warm-up left has been cleared by then. */
async function inventoryAtRest(place: Place): Promise<string[]> {
  const deadline = performance.now() + restWithinMs
  let last = takeInventory(place)
  for (let still = 0; still < 5; ) {
    await delay(200)
    const now = takeInventory(place)
    still = difference(last, now).length === 0 ? still + 1 : 0
    last = now
    if (performance.now() > deadline) throw new Error('the instance does not come to rest')
  }
  return last
}

/** What differs from `before` once the engine is at rest; looked at until nothing does, or the time is up. */
async function leftovers(before: readonly string[], place: Place): Promise<string[]> {
  const deadline = performance.now() + restWithinMs
  for (;;) {
    const left = difference(before, takeInventory(place))
    if (left.length === 0 || performance.now() > deadline) return left
    await delay(100)
  }
}

const described = ({ pssBytes, descriptors, threads }: Weight): string => `${(pssBytes / mib).toFixed(1)} MB PSS, ${descriptors} descriptors, ${threads} threads`

function grown(before: Weight, after: Weight): string[] {
  return (['pssBytes', 'descriptors', 'threads'] as const).filter((key) => after[key] - before[key] > mayGrow[key]).map((key) => `the engine grew: ${key} ${before[key]} -> ${after[key]}${key === 'descriptors' ? `\n    ${difference(before.kinds, after.kinds).join('\n    ')}` : ''}`)
}

export async function run(args: readonly string[]): Promise<void> {
  enterNamespaces()
  const plan = planOf(args)
  console.log(`seed ${plan.seed}: ${plan.count} containers, ${plan.parallel} at a time, ${plan.kills ? 'kill -9 at random moments' : 'no kills'}`)
  using instance = createInstance()
  instance.up()
  await loadImage(instance)
  const named = instanceOf(instance.root)
  const place = { root: instance.root, name: named.name, tables: nftTables(named) }
  const ledger: Ledger = { kept: new Map(), removed: new Set() }
  // What comes once and stays (folders, compiled code, connections) is no leak.
  const warmUp = await tellAll(instance, { ...plan, count: 120, seed: plan.seed + 1 }, ledger)
  const client = new PatientClient(`${instance.root}/run/docker.sock`)
  await removeKept(client, ledger)
  const before = await inventoryAtRest(place)
  const weightBefore = weigh(place)
  ledger.removed.clear()
  const startedMs = performance.now()
  const done = new AbortController()
  const killing = plan.kills ? killUntil(done.signal, place, { random: seededRandom(plan.seed).fork('kills'), instance }) : Promise.resolve(0)
  const told = await tellAll(instance, plan, ledger)
  done.abort()
  const kills = await killing
  const seconds = (performance.now() - startedMs) / 1000
  await untilServed(instance)
  const lost = await verifyKept(client, ledger)
  const kept = ledger.kept.size
  await removeKept(client, ledger)
  client.close()
  const left = await leftovers(before, place)
  const weightAfter = weigh(place)
  const problems = [...warmUp.failures, ...told.failures, ...lost, ...(plan.kills ? [] : grown(weightBefore, weightAfter))]
  console.log(`${plan.count} containers in ${seconds.toFixed(0)} s, ${kills} kills, ${told.cutOff} requests cut off; ${ledger.removed.size} told removed, ${kept} kept and found`)
  console.log(`engine before: ${described(weightBefore)}; after: ${described(weightAfter)}`)
  for (const problem of problems.slice(0, 60)) console.error(`  ${problem}`)
  if (left.length > 0) console.error(`left behind (+) or missing (-), ${left.length} lines:\n${left.slice(0, 200).map((line) => `  ${line}`).join('\n')}`)
  if (problems.length > 0 || left.length > 0) {
    console.error(`broken: ${problems.length} contradictions, ${left.length} leftovers; again with --seed ${plan.seed}`)
    process.exitCode = 1
  } else console.log('held: nothing is left, nothing is lost')
}
