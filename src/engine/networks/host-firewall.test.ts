/**
 * What is written into the host's iptables, and taken out again. The rules themselves were tried on the kernel with a FORWARD policy
 * of DROP; here iptables is a table in memory, because a policy would hit every other test in this network namespace.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Fault } from '#base/fault.ts'
import type { Processes, RunResult } from '#linux/contract/processes.ts'
import { HostFirewall } from './host-firewall.ts'

/** iptables(8) as far as `-S CHAIN`, `-I CHAIN …` and `-D CHAIN …` go. */
class Iptables implements Pick<Processes, 'run'> {
  readonly chains = new Map<string, string[]>()
  policy = 'DROP'
  isInstalled = true

  async run(argv: readonly string[]): Promise<RunResult> {
    if (!this.isInstalled) throw new Fault('notFound', 'executable file not found: iptables')
    const [, , verb, chain = '', ...rest] = argv
    const rules = this.chains.get(chain)
    const rule = `-A ${chain} ${rest.join(' ')}`
    if (rules === undefined) return { exitCode: 1, signal: undefined, stdout: Buffer.alloc(0), stderr: Buffer.from('No chain') }
    if (verb === '-I') rules.unshift(rule)
    if (verb === '-D') rules.splice(rules.indexOf(rule), 1)
    const head = chain === 'FORWARD' ? `-P FORWARD ${this.policy}` : `-N ${chain}`
    return { exitCode: 0, signal: undefined, stdout: Buffer.from(`${[head, ...rules].join('\n')}\n`), stderr: Buffer.alloc(0) }
  }
}

const through = (chain: string, match: string, instance = 'berth'): string => `-A ${chain} ${match} -m comment --comment berth:${instance} -j ACCEPT`

test('bridges are let through where forwarded packets are dropped, in the chain that dockerd leaves to users', async () => {
  const iptables = new Iptables()
  iptables.chains.set('FORWARD', ['-A FORWARD -j DOCKER-USER'])
  iptables.chains.set('DOCKER-USER', ['-A DOCKER-USER -j RETURN', through('DOCKER-USER', '-i other0', 'berth_abc')])
  const firewall = new HostFirewall(iptables, 'berth')
  await firewall.letThrough(['berth0'])
  await firewall.letThrough(['berth0', 'br-1'])
  assert.deepEqual(new Set(iptables.chains.get('DOCKER-USER')), new Set([...['-i berth0', '-o berth0', '-i br-1', '-o br-1'].map((match) => through('DOCKER-USER', match)), '-A DOCKER-USER -j RETURN', through('DOCKER-USER', '-i other0', 'berth_abc')]))
  await firewall.letThrough(['br-1'])
  await firewall.letThrough([])
  assert.deepEqual(iptables.chains.get('DOCKER-USER'), ['-A DOCKER-USER -j RETURN', through('DOCKER-USER', '-i other0', 'berth_abc')])
})

test('without dockerd the rules stand in FORWARD; where nothing is dropped there are none', async () => {
  const iptables = new Iptables()
  iptables.chains.set('FORWARD', [])
  const firewall = new HostFirewall(iptables, 'berth')
  await firewall.letThrough(['berth0'])
  assert.equal(iptables.chains.get('FORWARD')?.length, 2)
  iptables.policy = 'ACCEPT'
  await firewall.letThrough(['berth0'])
  assert.deepEqual(iptables.chains.get('FORWARD'), [])
})

test('a host without iptables is left alone', async () => {
  const iptables = new Iptables()
  iptables.isInstalled = false
  await new HostFirewall(iptables, 'berth').letThrough(['berth0'])
})
