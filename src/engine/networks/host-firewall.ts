/**
 * Living beside a firewall that drops what it does not know: dockerd and others set the policy of iptables' FORWARD chain to
 * DROP, and a packet must pass every table. Our bridges are then let through there; what may reach them is still decided by
 * our own table (`rules.ts`). Through iptables(8) itself, which other programs expect to be the only one that writes its tables.
 */
import { isFault } from '#base/fault.ts'
import type { Processes } from '#linux/contract/processes.ts'

export class HostFirewall {
  readonly #processes: Pick<Processes, 'run'>
  /** Marks our rules among those of others. */
  readonly #comment: string
  #isInstalled: boolean | undefined

  constructor(processes: Pick<Processes, 'run'>, table: string) {
    this.#processes = processes
    this.#comment = `berth:${table}`
  }

  /** Brings our rules to exactly these interfaces; none when nothing is dropped. */
  async letThrough(interfaces: readonly string[]): Promise<void> {
    const forward = await this.#rules('FORWARD')
    if (forward === undefined) return
    const user = await this.#rules('DOCKER-USER')
    const drops = forward.some((rule) => rule === '-P FORWARD DROP')
    const chain = user === undefined ? 'FORWARD' : 'DOCKER-USER'
    const wanted = new Set(drops ? interfaces.flatMap((name) => [`-i ${name}`, `-o ${name}`]) : [])
    for (const rule of [...forward, ...(user ?? [])]) {
      const own = /^-A (\S+) (-[io] \S+) -m comment --comment "?([^"\s]+)"? -j ACCEPT$/.exec(rule)
      if (own === null || own[3] !== this.#comment) continue
      if (own[1] === chain && wanted.delete(own[2] ?? '')) continue
      await this.#change('-D', own[1] ?? '', own[2] ?? '')
    }
    for (const match of wanted) await this.#change('-I', chain, match)
  }

  /** The rules of a chain as `iptables -S` prints them; undefined when there is no such chain, or no iptables. */
  async #rules(chain: string): Promise<readonly string[] | undefined> {
    if (this.#isInstalled === false) return undefined
    try {
      const { exitCode, stdout } = await this.#processes.run(['iptables', '-w', '-S', chain], { timeoutMs: 10_000 })
      return exitCode === 0 ? stdout.toString().trim().split('\n') : undefined
    } catch (error) {
      if (!isFault(error, 'notFound')) throw error
      this.#isInstalled = false
      return undefined
    }
  }

  async #change(verb: '-I' | '-D', chain: string, match: string): Promise<void> {
    await this.#processes.run(['iptables', '-w', verb, chain, ...match.split(' '), '-m', 'comment', '--comment', this.#comment, '-j', 'ACCEPT'], { timeoutMs: 10_000 })
  }
}
