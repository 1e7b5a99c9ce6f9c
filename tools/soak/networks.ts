/**
 * `npm run soak -- networks [ROUNDS]`: 1,000 rounds of a network with three endpoints that publish ports, in a process that is
 * killed with SIGKILL at random moments and started again. Afterwards the kernel holds what it held before: no interface,
 * namespace, rule, map element or iptables rule too many, and no record of a sandbox.
 */
import { spawn, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { systemClock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import { randomInt, systemRandom } from '../../src/base/random.ts'
import { openNetworks, type BridgeNetworks } from '../../src/engine/networks/networks.ts'
import type { Kernel } from '../../src/linux/contract/kernel.ts'
import { openKernel } from '../../src/linux/real/kernel.ts'
import { enterNamespaces } from '../instance.ts'

const folderVariable = 'BERTH_SOAK_NETWORKS'
const table = 'berth_soaknet'
const killEveryRounds = 25

function open(kernel: Kernel, folder: string): Promise<BridgeNetworks> {
  return openNetworks({
    links: kernel.links, namespaces: kernel.namespaces, nftables: kernel.nftables, sockets: kernel.poller, processes: kernel.processes, clock: systemClock, random: systemRandom, logger: silentLogger,
    stateDir: join(folder, 'state'), runDir: join(folder, 'run'), table, defaultBridge: { name: 'soak0', subnet: '10.221.0.0/24' }, addressPools: [{ base: '10.222.0.0/16', length: 24 }],
  })
}

/** What a crash left is swept, as the engine does it when no container is alive. */
async function sweep(networks: BridgeNetworks): Promise<void> {
  await networks.recover([])
  for (const { name } of await networks.list()) if (name.startsWith('round')) await networks.remove(name)
}

async function round(networks: BridgeNetworks, number: number): Promise<void> {
  const kinds = [{}, { enableIPv6: true }, { internal: true }, { driver: 'macvlan', internal: true }, { enableIPv4: false, enableIPv6: true }]
  const { id } = await networks.create({ name: `round${number}`, ...kinds[number % kinds.length] })
  const bridge = await networks.get('bridge')
  const names = [1, 2, 3].map((index) => `soak-${number}-${index}`)
  await Promise.all(
    names.map(async (name, index) => {
      await networks.openSandbox(name)
      await networks.connect(name, bridge.id, { ports: [{ containerPort: 80, protocol: 'tcp', hostIp: '', hostPort: 30_000 + index }] })
      await networks.connect(name, id, { aliases: [name], ports: [{ containerPort: 53, protocol: 'udp', hostIp: '', hostPort: 0 }] })
      if (index === 0) await networks.disconnect(name, id)
    }),
  )
  await Promise.all(names.map((name) => networks.closeSandbox(name)))
  await networks.remove(id)
}

/** Tells each finished round; goes on until it is killed or told enough. */
async function work(folder: string): Promise<void> {
  const kernel = await openKernel()
  const networks = await open(kernel, folder)
  await sweep(networks)
  for (let number = 0; ; number += 1) {
    await round(networks, number)
    process.stdout.write('.')
  }
}

/** Everything of ours that the kernel and the disk hold. */
async function inventory(kernel: Kernel, folder: string): Promise<string> {
  const run = (program: string, ...args: readonly string[]): string => spawnSync(program, args, { encoding: 'utf8' }).stdout
  const links = (await kernel.links.list()).map(({ name, kind }) => `${name} ${kind}`).sort()
  const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n').filter((line) => line.includes(folder)).length
  const rules = await Promise.all([`ip ${table}`, `ip6 ${table}`].map((name) => kernel.nftables.list(name)))
  const elements = rules.flat().map((item) => JSON.stringify(item).replaceAll(/"handle":\s*\d+/g, '')).sort()
  const records = ['run/sandboxes', 'run/netns'].flatMap((name) => readdirSync(join(folder, name)).map((file) => `${name}/${file}`))
  return JSON.stringify({ links, mounts, elements, records, iptables: run('iptables', '-S'), ip6tables: run('ip6tables', '-S') }, undefined, 1)
}

/** Interfaces of a closed sandbox vanish a moment after it. */
async function settled(kernel: Kernel, folder: string): Promise<string> {
  for (let last = '', attempt = 0; ; attempt += 1) {
    const now = await inventory(kernel, folder)
    if ((now === last && !/"be[0-9a-f]{12} veth"/.test(now)) || attempt === 100) return now
    last = now
    await new Promise<void>((resolve_) => systemClock.after(100, resolve_))
  }
}

/** One life of the worker: answers how many rounds it finished. */
function live(folder: string, rounds: number, kill: boolean): Promise<number> {
  const worker = spawn(process.execPath, [...process.execArgv, resolve(import.meta.dirname, '../soak.ts'), 'networks'], { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, [folderVariable]: folder } })
  let finished = 0
  return new Promise((fulfil, reject) => {
    worker.once('error', reject)
    worker.stdout.on('data', (chunk: Buffer) => {
      finished += chunk.length
      // Not between rounds, but somewhere in the next one.
      if (finished >= rounds) systemClock.after(kill ? randomInt(systemRandom, 120) : 0, () => worker.kill('SIGKILL'))
    })
    worker.once('exit', (code, signal) => (signal === 'SIGKILL' ? fulfil(finished) : reject(new Error(`the worker ended with ${code ?? signal ?? ''} after ${finished} rounds`))))
  })
}

export async function run(options: readonly string[]): Promise<void> {
  const workerFolder = process.env[folderVariable]
  if (workerFolder !== undefined) return work(workerFolder)
  enterNamespaces()
  spawnSync('ip', ['link', 'set', 'lo', 'up'])
  const rounds = Number(options[0] ?? 1000)
  const folder = mkdtempSync(join(tmpdir(), 'sn-'))
  mkdirSync(join(folder, 'state'))
  const kernel = await openKernel()
  const clean = async (): Promise<string> => {
    const networks = await open(kernel, folder)
    await sweep(networks)
    await networks[Symbol.asyncDispose]()
    return settled(kernel, folder)
  }
  const started = performance.now()
  // The first rounds make what stays: the table of IPv6.
  await live(folder, 5, false)
  const before = await clean()
  let [done, kills] = [0, 0]
  while (done < rounds) {
    done += await live(folder, Math.min(1 + randomInt(systemRandom, 2 * killEveryRounds), rounds - done), true)
    kills += 1
  }
  const after = await clean()
  const networks = await open(kernel, folder)
  await networks.tearDown()
  await kernel[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true })
  console.log(`${done} rounds of 3 containers on 2 networks, ${kills} kill -9, ${((performance.now() - started) / 1000).toFixed(0)} s`)
  if (before !== after) {
    console.error(`the kernel holds something else than before:\n${before}\n->\n${after}`)
    process.exitCode = 1
  } else console.log('held: no interface, namespace, rule, element or record is left')
}
