/**
 * Published ports under the host's own iptables, on the real kernel. A policy would hit every other test, so that this file runs
 * itself again in a network namespace of its own.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/log.ts'
import { systemRandom } from '#base/random.ts'
import type { Child } from '#linux/contract/processes.ts'
import { openKernel } from '#linux/real/kernel.ts'
import { openNetworks } from './networks.ts'

const inside = 'BERTH_FIREWALL_TEST_INSIDE'

function iptables(...args: readonly string[]): void {
  const { status, stderr } = spawnSync('iptables', ['-w', ...args], { encoding: 'utf8' })
  assert.equal(status, 0, stderr)
}

if (process.env[inside] === undefined) {
  test('published ports obey the host’s firewall', () => {
    const { status, stdout, stderr } = spawnSync('unshare', ['--net', process.execPath, ...process.execArgv, import.meta.filename], { encoding: 'utf8', env: { ...process.env, [inside]: '1', NODE_TEST_CONTEXT: undefined } })
    assert.equal(status, 0, `${stdout}${stderr}`)
  })
} else {
  test('rules of the host decide, and its policies where it has none', async () => {
    spawnSync('ip', ['link', 'set', 'lo', 'up'])
    const folder = await mkdtemp(join(process.env['BERTH_TEST_ROOT'] ?? tmpdir(), 'fw-'))
    const kernel = await openKernel()
    const outside = join(folder, 'outside')
    const children: Child[] = []
    const run = async (netns: string, program: string): Promise<string> => (await kernel.processes.run(['nsenter', `--net=${netns}`, process.execPath, '-e', program])).stdout.toString().trim()
    const ask = (host: string, port: number): string => `const s = require('net').connect({ host: '${host}', port: ${port}, timeout: 700 }); s.on('timeout', () => s.destroy(new Error())); s.on('error', () => console.log('failed')); s.on('data', (d) => console.log(String(d)))`
    await kernel.namespaces.create({ pinAt: { net: outside } })
    await kernel.links.attach({ hostName: 'out', netns: outside, ifName: 'eth0', addresses: ['10.212.0.2/24'], gateways: ['10.212.0.1'] })
    await kernel.links.addAddress('out', '10.212.0.1/24')
    const networks = await openNetworks({
      links: kernel.links, namespaces: kernel.namespaces, nftables: kernel.nftables, sockets: kernel.poller, processes: kernel.processes, clock: systemClock, random: systemRandom, logger: silentLogger,
      stateDir: join(folder, 'state'), runDir: join(folder, 'run'), table: 'berth_fwtest', defaultBridge: { name: 'fw0', subnet: '10.211.0.0/24' }, addressPools: [],
    })
    const serve = async (netns: string, port: number): Promise<void> => {
      const child = await kernel.processes.start(['nsenter', `--net=${netns}`, process.execPath, '-e', `require('net').createServer((s) => s.end('hello')).listen(${port}, () => console.log('ready'))`], { stdio: ['null', 'pipeOut', 'inherit'] })
      children.push(child)
      for await (const _ of child.stdio[1] ?? []) return
    }
    try {
      const bridge = await networks.get('bridge')
      const { netnsPath } = await networks.openSandbox('web')
      await networks.connect('web', bridge.id, { ports: [{ containerPort: 80, protocol: 'tcp', hostIp: '', hostPort: 8080 }] })
      await serve(netnsPath, 80)
      await serve(outside, 90)
      const fromOutside = (): Promise<string> => run(outside, ask('10.212.0.1', 8080))
      const toOutside = (): Promise<string> => run(netnsPath, ask('10.212.0.2', 90))
      /** A network that comes is when the rules are looked at. */
      const look = async (): Promise<void> => {
        await networks.create({ name: 'look', ipam: { config: [{ subnet: '10.213.0.0/24' }] } })
        await networks.remove('look')
      }
      assert.deepEqual([await fromOutside(), await toOutside()], ['hello', 'hello'])
      // dockerd's policy alone: nothing changes.
      iptables('-P', 'FORWARD', 'DROP')
      await look()
      assert.deepEqual([await fromOutside(), await toOutside()], ['hello', 'hello'])
      // A rule of the host's, wherever it stands, decides first.
      iptables('-A', 'FORWARD', '-m', 'conntrack', '--ctorigdstport', '8080', '--ctdir', 'ORIGINAL', '-j', 'DROP')
      await look()
      assert.deepEqual([await fromOutside(), await toOutside()], ['failed', 'hello'])
      iptables('-D', 'FORWARD', '-m', 'conntrack', '--ctorigdstport', '8080', '--ctdir', 'ORIGINAL', '-j', 'DROP')
      // A host that denies what comes in.
      iptables('-A', 'INPUT', '-m', 'conntrack', '--ctstate', 'RELATED,ESTABLISHED', '-j', 'ACCEPT')
      iptables('-P', 'INPUT', 'DROP')
      await look()
      assert.deepEqual([await fromOutside(), await toOutside()], ['failed', 'hello'])
      iptables('-P', 'FORWARD', 'ACCEPT')
      await look()
      assert.deepEqual([await fromOutside(), await toOutside()], ['failed', 'hello'])
      // The host itself and a rule that opens the port are let in.
      assert.equal(await run('/proc/self/ns/net', ask('127.0.0.1', 8080)), 'hello')
      iptables('-I', 'FORWARD', '-p', 'tcp', '--dport', '80', '-m', 'conntrack', '--ctorigdstport', '8080', '-j', 'ACCEPT')
      assert.equal(await fromOutside(), 'hello')
    } finally {
      for (const child of children) await kernel.processes.kill(child.pid, 9)
      await Promise.all(children.map(({ exited }) => exited))
      await networks.tearDown()
      const left = spawnSync('iptables', ['-w', '-S'], { encoding: 'utf8' }).stdout
      await kernel.links.deleteLink('out')
      await kernel.namespaces.remove(outside)
      await kernel[Symbol.asyncDispose]()
      await rm(folder, { recursive: true })
      assert.ok(!left.includes('berth:'), left)
    }
  })
}
