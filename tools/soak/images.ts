/**
 * `npm run soak -- images [--kills 200] [--seed N]`: pulls, pushes, builds, removals, prunes, saves and loads side by side, the engine killed
 * (-9) at a random moment of each round. Every operation, repeated, succeeds; after each round the store is whole (`images/store-check.ts`);
 * and when all is removed in the end nothing is left that nothing names.
 */
import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { startDockerRegistry } from '../../bench/docker-registry.ts'
import { instanceOf } from '../../src/apps/config/instance.ts'
import { listAt, numberAt } from '../../src/cli/json.ts'
import { seededRandom } from '../../src/sim/random.ts'
import { createInstance, enterNamespaces } from '../instance.ts'
import { nodePid, type Place } from './containers/inventory.ts'
import { ImageEngine } from './images/engine.ts'
import { StoreCheck } from './images/store-check.ts'
import { fillPool, oneStep, type Worker, workers, type Workplace } from './images/workload.ts'
import { nftTables } from '../../src/apps/config/names.ts'

/** What nothing names is spared for a minute by a prune. */
const graceMs = 61_000

function planOf(args: readonly string[]): { readonly kills: number; readonly seed: number } {
  const { values } = parseArgs({ args: [...args], options: { kills: { type: 'string', default: '200' }, seed: { type: 'string', default: String(process.pid * 31 + Math.floor(performance.now())) } } })
  const [kills, seed] = [Number(values.kills), Number(values.seed)]
  if (![kills, seed].every(Number.isInteger) || kills < 1) throw new RangeError('--kills and --seed take whole numbers')
  return { kills, seed }
}

async function untilServed(engine: ImageEngine): Promise<void> {
  await engine.run(() => ({ method: 'GET', path: '/images/json' }))
}

/** Kills the engine, now. */
function kill(place: Place): void {
  process.kill(nodePid(place), 'SIGKILL')
}

async function namesThere(engine: ImageEngine): Promise<ReadonlySet<string>> {
  const images = await engine.json(() => ({ method: 'GET', path: '/images/json', query: { all: '1' } }))
  return new Set(listAt({ images }, 'images').flatMap((image) => listAt(image, 'RepoTags').map(String)))
}

async function toldLayerBytes(engine: ImageEngine): Promise<number> {
  return numberAt(await engine.json(() => ({ method: 'GET', path: '/system/df', query: { type: 'image' } })), 'LayersSize')
}

/** Removes all that is left, as a user would. */
async function removeAll(engine: ImageEngine, check: StoreCheck): Promise<void> {
  for (const name of await namesThere(engine)) await engine.run(() => ({ method: 'DELETE', path: `/images/${name}`, query: { force: '1' } }))
  await engine.run(() => ({ method: 'POST', path: '/build/prune', query: { all: '1' } }))
  await delay(graceMs)
  check.letADayPass()
  await engine.run(() => ({ method: 'POST', path: '/images/prune', query: { filters: '{"dangling":["false"]}' } }))
}

/** Digests that the instance's own registry links, in any repository. */
async function linkedByRegistry(registry: string, digests: readonly string[]): Promise<ReadonlySet<string>> {
  const { repositories }: { readonly repositories: readonly string[] } = JSON.parse(await (await fetch(`http://${registry}/v2/_catalog?n=1000`)).text())
  const linked = new Set<string>()
  for (const repository of repositories) {
    for (const digest of digests) {
      const found = await Promise.all(['blobs', 'manifests'].map(async (kind) => (await fetch(`http://${registry}/v2/${repository}/${kind}/${digest}`, { method: 'HEAD', headers: { Accept: '*/*' } })).ok))
      if (found.includes(true)) linked.add(digest)
    }
  }
  return linked
}

export async function run(args: readonly string[]): Promise<void> {
  enterNamespaces()
  const { kills, seed } = planOf(args)
  console.log(`seed ${seed}: ${kills} kill -9 of the engine, ${workers} clients at a time`)
  using instance = createInstance()
  await using registry = await startDockerRegistry()
  if (registry === undefined) throw new Error('docker-registry is needed: apt-get install docker-registry')
  instance.up()
  const named = instanceOf(instance.root)
  const where: Place = { root: instance.root, name: named.name, tables: nftTables(named) }
  const engine = new ImageEngine(`${instance.root}/run/docker.sock`)
  const own = `127.0.0.1:${named.registryPort}`
  const place: Workplace = { engine, foreign: registry.host, own, busybox: readFileSync('/bin/busybox') }
  const check = new StoreCheck(instance.root)
  await fillPool(place)
  const random = seededRandom(seed)
  const crew = Array.from({ length: workers }, (_, number): Worker => ({ number, random: random.fork(`worker ${number}`), here: new Set(), built: 0 }))
  const moments = random.fork('moments')
  const problems: string[] = []
  let steps = 0
  const startedMs = performance.now()
  for (let round = 0; round < kills && problems.length < 20; round += 1) {
    const working = crew.map(async (worker) => {
      const told: string[] = []
      for (let step = 0; step < 3; step += 1) told.push(await oneStep(place, worker))
      steps += told.length
      return told
    })
    // The first half of the moments is within the first tenth of a second.
    await delay(moments.chance(0.5) ? moments.between(0, 100) : moments.between(100, 1500))
    kill(where)
    const told = await Promise.allSettled(working)
    const failed = told.flatMap((result): string[] => (result.status === 'rejected' ? [String(result.reason)] : []))
    await untilServed(engine)
    const there = await namesThere(engine)
    const lost = crew.flatMap(({ here }) => [...here].filter((name) => !there.has(name)).map((name) => `lost: ${name}`))
    const whole = await check.problems()
    const dfBytes = await toldLayerBytes(engine)
    const unlike = dfBytes === check.layerBytes() ? [] : [`system df tells of ${dfBytes} bytes in layers, there are ${check.layerBytes()}`]
    for (const problem of [...failed, ...lost, ...whole, ...unlike]) {
      problems.push(`round ${round}: ${problem}`)
      console.error(`  ${problems.at(-1)}\n    ${told.flatMap((result) => (result.status === 'fulfilled' ? [result.value.join(', ')] : [])).join('\n    ')}`)
    }
    if ((round + 1) % 25 === 0) console.log(`  ${round + 1} kills, ${steps} operations, ${engine.cutOff} requests cut off, ${there.size} names, ${problems.length} problems`)
  }
  const seconds = (performance.now() - startedMs) / 1000
  await verifyAndClear(place, { check, crew, problems })
  engine.close()
  console.log(`${kills} kills in ${seconds.toFixed(0)} s: ${steps} operations, ${engine.cutOff} requests cut off`)
  if (problems.length > 0) {
    console.error(`broken: ${problems.length} problems; again with --seed ${seed}\n${problems.slice(0, 30).map((line) => `  ${line}`).join('\n')}`)
    process.exitCode = 1
  } else console.log('held: every store was whole, every repeated operation succeeded, nothing is left')
}

/** Every image can be read to its last byte; removed, they leave nothing. */
async function verifyAndClear({ engine, own }: Workplace, found: { readonly check: StoreCheck; readonly crew: readonly Worker[]; readonly problems: string[] }): Promise<void> {
  for (const name of found.crew.flatMap(({ here }) => [...here])) {
    try {
      await engine.run(() => ({ method: 'GET', path: '/images/get', query: { names: name } }))
    } catch (error) {
      found.problems.push(`at the end ${name} cannot be saved: ${String(error)}`)
    }
  }
  await removeAll(engine, found.check)
  const linked = await linkedByRegistry(own, found.check.blobs().map((hex) => `sha256:${hex}`))
  found.problems.push(...found.check.leftovers((digest) => linked.has(digest)).map((line) => `left at the end: ${line}`))
}
