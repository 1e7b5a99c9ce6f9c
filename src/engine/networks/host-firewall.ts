/**
 * Living beside the host's firewall (docs/decisions/0008): a packet must pass every table, and what the host's rules say about a
 * published port goes before what we say.
 *
 * - Where forwarded packets are dropped by policy (dockerd, ufw), containers' own connections and the answers to them are let
 *   through at the top: they are the host's outgoing traffic.
 * - Connections from outside to published ports are decided at the very end, after every rule of the host: let through where
 *   only the forward policy would drop them, dropped where the host denies what comes in by default (INPUT policy DROP) and only
 *   the forward policy would let them pass. So `ufw` or a rule in FORWARD opens and closes them, and no rule of ours is before it.
 *
 * Through iptables(8) itself, which other programs expect to be the only one that writes its tables. What may reach our bridges
 * at all is decided by our own table (`rules.ts`).
 */
import { isFault } from '#base/fault.ts'
import type { Processes } from '#linux/contract/processes.ts'

export interface ForwardedBridge {
  readonly bridge: string
  readonly hasIPv6: boolean
}

type Tool = 'iptables' | 'ip6tables'

interface Rule {
  readonly chain: string
  /** Everything between the chain and the comment. */
  readonly match: string
  readonly target: 'ACCEPT' | 'DROP'
}

export class HostFirewall {
  readonly #processes: Pick<Processes, 'run'>
  /** Marks our rules among those of others. */
  readonly #comment: string
  readonly #missing = new Set<Tool>()
  /** Whether rules of ours may stand in the table: then they are looked after also when there is no bridge left. */
  #usedIPv6 = true

  constructor(processes: Pick<Processes, 'run'>, table: string) {
    this.#processes = processes
    this.#comment = `berth:${table}`
  }

  /** Brings our rules to exactly these bridges; none where the host's policies neither drop nor deny. */
  async letThrough(bridges: readonly ForwardedBridge[]): Promise<void> {
    await this.#follow('iptables', bridges.map(({ bridge }) => bridge))
    const six = bridges.flatMap(({ bridge, hasIPv6 }) => (hasIPv6 ? bridge : []))
    if (six.length > 0 || this.#usedIPv6) await this.#follow('ip6tables', six)
    this.#usedIPv6 = six.length > 0
  }

  async #follow(tool: Tool, interfaces: readonly string[]): Promise<void> {
    const listed = await this.#list(tool)
    if (listed === undefined) return
    const isForwardDropped = listed.includes('-P FORWARD DROP')
    const isInputDropped = listed.includes('-P INPUT DROP')
    const wanted = isForwardDropped || isInputDropped ? interfaces.flatMap((name) => rulesFor(name, { top: listed.includes('-N DOCKER-USER') ? 'DOCKER-USER' : 'FORWARD', isForwardDropped, isInputDropped })) : []
    const own = listed.flatMap((line) => this.#ownRule(line) ?? [])
    const key = ({ chain, match, target }: Rule): string => `${chain} ${match} ${target}`
    const [there, needed] = [new Set(own.map(key)), new Set(wanted.map(key))]
    // What others appended since stands behind our last rules, which then decide too early.
    const isLastWord = wanted.filter(isLast).length === 0 || listed.filter((line) => line.startsWith('-A FORWARD ')).slice(-wanted.filter(isLast).length).every((line) => this.#ownRule(line) !== undefined)
    for (const rule of own) if (!needed.has(key(rule)) || (isLast(rule) && !isLastWord)) await this.#change(tool, '-D', rule)
    for (const rule of wanted) if (!there.has(key(rule)) || (isLast(rule) && !isLastWord)) await this.#change(tool, isLast(rule) ? '-A' : '-I', rule)
  }

  #ownRule(line: string): Rule | undefined {
    const [, chain, match, comment, target] = /^-A (\S+) (.+?) -m comment --comment "?([^"\s]+)"? -j (ACCEPT|DROP)$/.exec(line) ?? []
    return chain === undefined || match === undefined || comment !== this.#comment || (target !== 'ACCEPT' && target !== 'DROP') ? undefined : { chain, match, target }
  }

  /** All rules as `iptables -S` prints them; undefined where there is no such program or no such table. */
  async #list(tool: Tool): Promise<readonly string[] | undefined> {
    if (this.#missing.has(tool)) return undefined
    try {
      const { exitCode, stdout } = await this.#processes.run([tool, '-w', '-S'], { timeoutMs: 10_000 })
      return exitCode === 0 ? stdout.toString().trim().split('\n') : undefined
    } catch (error) {
      if (!isFault(error, 'notFound')) throw error
      this.#missing.add(tool)
      return undefined
    }
  }

  async #change(tool: Tool, verb: '-I' | '-A' | '-D', { chain, match, target }: Rule): Promise<void> {
    await this.#processes.run([tool, '-w', verb, chain, ...match.split(' '), '-m', 'comment', '--comment', this.#comment, '-j', target], { timeoutMs: 10_000 })
  }
}

const publishedState = '-m conntrack --ctstate DNAT'

function isLast({ match }: Rule): boolean {
  return match.endsWith(publishedState)
}

function rulesFor(name: string, host: { readonly top: string; readonly isForwardDropped: boolean; readonly isInputDropped: boolean }): Rule[] {
  const { top, isForwardDropped, isInputDropped } = host
  const own: Rule[] = [
    { chain: top, match: `-i ${name}`, target: 'ACCEPT' },
    { chain: top, match: `-o ${name} -m conntrack --ctstate RELATED,ESTABLISHED`, target: 'ACCEPT' },
  ]
  // Both policies drop: nothing is to be added, and nothing comes in that no rule lets in.
  if (isForwardDropped && isInputDropped) return own
  return [...own, { chain: 'FORWARD', match: `-o ${name} ${publishedState}`, target: isForwardDropped ? 'ACCEPT' : 'DROP' }]
}
