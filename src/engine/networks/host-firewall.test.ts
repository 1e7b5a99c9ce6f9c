/**
 * What is written into the host's iptables, and taken out again. Here iptables is a table in memory, because a policy would hit
 * every other test in this network namespace; `firewall-kernel.test.ts` tries the rules in a namespace of their own.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Fault } from '#base/fault.ts'
import type { Processes, RunResult } from '#linux/contract/processes.ts'
import { HostFirewall, type ForwardedBridge } from './host-firewall.ts'

/** iptables(8) as far as `-S`, `-I CHAIN …`, `-A CHAIN …` and `-D CHAIN …` go. */
class Iptables implements Pick<Processes, 'run'> {
  readonly chains = new Map<string, string[]>([['FORWARD', []]])
  policies = { FORWARD: 'DROP', INPUT: 'ACCEPT' }
  isInstalled = true

  async run(argv: readonly string[]): Promise<RunResult> {
    if (!this.isInstalled) throw new Fault('notFound', 'executable file not found: iptables')
    const [tool, , verb, chain = '', ...rest] = argv
    const answer = (text: string): RunResult => ({ exitCode: 0, signal: undefined, stdout: Buffer.from(text), stderr: Buffer.alloc(0) })
    // The table of IPv6 is empty and stays so.
    if (tool === 'ip6tables') return answer('-P INPUT ACCEPT\n-P FORWARD ACCEPT\n')
    const rules = this.chains.get(chain)
    const rule = `-A ${chain} ${rest.join(' ')}`
    if (verb === '-I') rules?.unshift(rule)
    if (verb === '-A') rules?.push(rule)
    if (verb === '-D') rules?.splice(rules.lastIndexOf(rule), 1)
    const heads = [...Object.entries(this.policies).map(([name, policy]) => `-P ${name} ${policy}`), ...[...this.chains.keys()].flatMap((name) => (name === 'FORWARD' ? [] : `-N ${name}`))]
    return answer(`${[...heads, ...[...this.chains.values()].flat()].join('\n')}\n`)
  }
}

const bridges = (...names: string[]): ForwardedBridge[] => names.map((bridge) => ({ bridge, hasIPv6: false }))
const rule = (chain: string, match: string, target = 'ACCEPT', instance = 'berth'): string => `-A ${chain} ${match} -m comment --comment berth:${instance} -j ${target}`
const answers = (name: string): string => `-o ${name} -m conntrack --ctstate RELATED,ESTABLISHED`
const published = (name: string): string => `-o ${name} -m conntrack --ctstate DNAT`

test('where forwarded packets are dropped by policy, containers reach out, and published ports are decided after every rule of the host', async () => {
  const iptables = new Iptables()
  iptables.chains.set('FORWARD', ['-A FORWARD -j DOCKER-USER', '-A FORWARD -p tcp --dport 81 -j DROP'])
  iptables.chains.set('DOCKER-USER', ['-A DOCKER-USER -j RETURN', rule('DOCKER-USER', '-i other0', 'ACCEPT', 'berth_abc')])
  const firewall = new HostFirewall(iptables, 'berth')
  await firewall.letThrough(bridges('berth0'))
  await firewall.letThrough(bridges('berth0', 'br-1'))
  assert.deepEqual(new Set(iptables.chains.get('DOCKER-USER')), new Set([...['berth0', 'br-1'].flatMap((name) => [rule('DOCKER-USER', `-i ${name}`), rule('DOCKER-USER', answers(name))]), '-A DOCKER-USER -j RETURN', rule('DOCKER-USER', '-i other0', 'ACCEPT', 'berth_abc')]))
  assert.deepEqual(iptables.chains.get('FORWARD'), ['-A FORWARD -j DOCKER-USER', '-A FORWARD -p tcp --dport 81 -j DROP', rule('FORWARD', published('berth0')), rule('FORWARD', published('br-1'))])
  await firewall.letThrough(bridges('br-1'))
  await firewall.letThrough([])
  assert.deepEqual(iptables.chains.get('DOCKER-USER'), ['-A DOCKER-USER -j RETURN', rule('DOCKER-USER', '-i other0', 'ACCEPT', 'berth_abc')])
  assert.deepEqual(iptables.chains.get('FORWARD'), ['-A FORWARD -j DOCKER-USER', '-A FORWARD -p tcp --dport 81 -j DROP'])
})

test('a rule that somebody appended since goes before ours again', async () => {
  const iptables = new Iptables()
  const firewall = new HostFirewall(iptables, 'berth')
  await firewall.letThrough(bridges('berth0'))
  iptables.chains.get('FORWARD')?.push('-A FORWARD -p tcp --dport 81 -j DROP')
  await firewall.letThrough(bridges('berth0'))
  assert.deepEqual(iptables.chains.get('FORWARD')?.slice(-2), ['-A FORWARD -p tcp --dport 81 -j DROP', rule('FORWARD', published('berth0'))])
})

test('a host that denies what comes in keeps published ports closed until a rule of its own opens them', async () => {
  const iptables = new Iptables()
  iptables.policies = { FORWARD: 'DROP', INPUT: 'DROP' }
  const firewall = new HostFirewall(iptables, 'berth')
  await firewall.letThrough(bridges('berth0'))
  assert.deepEqual(new Set(iptables.chains.get('FORWARD')), new Set([rule('FORWARD', '-i berth0'), rule('FORWARD', answers('berth0'))]))
  iptables.policies = { FORWARD: 'ACCEPT', INPUT: 'DROP' }
  await firewall.letThrough(bridges('berth0'))
  assert.equal(iptables.chains.get('FORWARD')?.at(-1), rule('FORWARD', published('berth0'), 'DROP'))
})

test('where nothing is dropped there are no rules', async () => {
  const iptables = new Iptables()
  const firewall = new HostFirewall(iptables, 'berth')
  await firewall.letThrough(bridges('berth0'))
  assert.equal(iptables.chains.get('FORWARD')?.length, 3)
  iptables.policies = { FORWARD: 'ACCEPT', INPUT: 'ACCEPT' }
  await firewall.letThrough(bridges('berth0'))
  assert.deepEqual(iptables.chains.get('FORWARD'), [])
})

test('a host without iptables is left alone', async () => {
  const iptables = new Iptables()
  iptables.isInstalled = false
  await new HostFirewall(iptables, 'berth').letThrough(bridges('berth0'))
})
