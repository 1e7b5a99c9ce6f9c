/**
 * `npm run bench -- memory`: what the daemons weigh, and what each idle container adds beside its own process (conmons, shims, what the
 * daemons keep of it). Proportional set sizes (PSS), so that shared pages count once.
 */
import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { client, type Engine, image, startClient, withEngines } from './engines.ts'
import { median } from './measure.ts'

const containers = 50
const readings = 10
const mib = 1024 * 1024
/** A daemon is idle when it has had nothing to do for this long; what it keeps of its last work has had time to go. */
const idleMs = 5000

function pssBytes(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + Number(/^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0) * 1024, 0)
}

interface Weight {
  readonly daemons: number
  readonly companions: number
}

/** The median of readings over two seconds, once the daemon is idle: a heap comes and goes. */
async function weigh(engine: Engine): Promise<Weight> {
  const daemons: number[] = []
  const companions: number[] = []
  await delay(idleMs)
  for (let reading = 0; reading < readings; reading += 1) {
    daemons.push(pssBytes(engine.daemons()))
    companions.push(pssBytes(engine.companions()))
    await delay(200)
  }
  return { daemons: median(daemons), companions: median(companions) }
}

export async function benchMemory(): Promise<void> {
  await withEngines(async (engines) => {
    const perContainer = new Map<string, number>()
    console.log(`memory: PSS in MB, medians of ${readings} readings; ${containers} idle containers (sleep), their own processes not counted`)
    for (const engine of engines) {
      client(engine, ['run', '--rm', image, 'true'])
      const idle = await weigh(engine)
      for (let number = 0; number < containers; number += 5) {
        await Promise.all(Array.from({ length: 5 }, (_, index) => startClient(engine, ['run', '-d', '--name', `m${number + index}`, image, 'sleep', '10000'])))
      }
      const loaded = await weigh(engine)
      const each = (loaded.daemons + loaded.companions - idle.daemons - idle.companions) / containers
      perContainer.set(engine.name, each)
      console.log(`  ${engine.name.padEnd(10)} daemon idle ${(idle.daemons / mib).toFixed(1).padStart(6)}   with ${containers} containers ${(loaded.daemons / mib).toFixed(1).padStart(6)}   beside the containers ${(loaded.companions / mib).toFixed(1).padStart(6)}   per container ${(each / mib).toFixed(2).padStart(6)}`)
      client(engine, ['rm', '-f', ...Array.from({ length: containers }, (_, index) => `m${index}`)])
    }
    const own = perContainer.get('berth')
    const peers = [...perContainer].filter(([name]) => name !== 'berth')
    if (own === undefined || peers.length === 0) return console.log('  no peer')
    for (const [name, each] of peers) console.log(`  ratio per container berth / ${name} = ${(own / each).toFixed(3)}`)
  })
}
