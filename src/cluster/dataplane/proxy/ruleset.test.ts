/** From Services and EndpointSlices to rules, and from rules to the next transaction. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Service } from '../../api/core/v1/service.ts'
import type { EndpointSlice } from '../../api/discovery/v1/endpoint-slice.ts'
import type { Portal } from './portals.ts'
import { portalsOf } from './portals.ts'
import type { Ruleset } from './ruleset.ts'
import { changeScript, emptyRuleset, replaceScript, rulesetOf } from './ruleset.ts'

const meta = (name: string, labels: Record<string, string> = {}) => ({ name, namespace: 'default', uid: name, resourceVersion: '1', creationTimestamp: '2026-01-01T00:00:00Z', labels })

function service(name: string, spec: Partial<Service['spec']>): Service {
  return { apiVersion: 'v1', kind: 'Service', metadata: meta(name), spec: { type: 'ClusterIP', sessionAffinity: 'None', ...spec }, status: { loadBalancer: {} } }
}

type Conditions = EndpointSlice['endpoints'][number]['conditions']

function slice(serviceName: string, endpoints: readonly { ip: string; conditions?: Conditions; nodeName?: string }[], port = 8080): EndpointSlice {
  return {
    apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', metadata: meta(`${serviceName}-x`, { 'kubernetes.io/service-name': serviceName }), addressType: 'IPv4',
    endpoints: endpoints.map(({ ip, conditions = { ready: true }, nodeName }) => ({ addresses: [ip], conditions, ...(nodeName === undefined ? {} : { nodeName }) })),
    ports: [{ name: '', protocol: 'TCP', port }],
  }
}

const port = { port: 80, protocol: 'TCP' as const, targetPort: 8080 }
const onNode = { nodeName: 'n1' }
const ips = (portal: Portal | undefined): string[] => (portal?.targets ?? []).map(({ ip }) => ip)

test('ready endpoints are targets; without one, those that end but still serve; never the others', () => {
  const web = service('web', { clusterIP: '10.43.0.5', ports: [port] })
  const ending = { ready: false, serving: true, terminating: true }
  const [mixed] = portalsOf([web], [slice('web', [{ ip: '10.42.0.3' }, { ip: '10.42.0.2', conditions: ending }, { ip: '10.42.0.4', conditions: { ready: false } }])], onNode)
  assert.deepEqual(ips(mixed), ['10.42.0.3'])
  const [onlyEnding] = portalsOf([web], [slice('web', [{ ip: '10.42.0.2', conditions: ending }, { ip: '10.42.0.4', conditions: { ready: false } }])], onNode)
  assert.deepEqual(ips(onlyEnding), ['10.42.0.2'])
  assert.deepEqual(ips(portalsOf([web], [], onNode)[0]), [])
})

test('headless services and external names have no portal; node ports and external addresses have their own', () => {
  assert.deepEqual(portalsOf([service('a', { clusterIP: 'None', ports: [port] }), service('b', { type: 'ExternalName', externalName: 'x.example' })], [], onNode), [])
  const web = service('web', { type: 'NodePort', clusterIP: '10.43.0.5', externalIPs: ['192.0.2.9'], ports: [{ ...port, nodePort: 30_080 }] })
  const portals = portalsOf([web], [slice('web', [{ ip: '10.42.0.2' }])], onNode)
  assert.deepEqual(portals.map(({ ip, port: at, masquerade }) => [ip, at, masquerade]), [['10.43.0.5', 80, false], ['192.0.2.9', 80, true], [undefined, 30_080, true]])
})

test('the Local policies keep to endpoints of this node and keep the source address', () => {
  const web = service('web', { type: 'NodePort', clusterIP: '10.43.0.5', externalTrafficPolicy: 'Local', internalTrafficPolicy: 'Local', ports: [{ ...port, nodePort: 30_080 }] })
  const portals = portalsOf([web], [slice('web', [{ ip: '10.42.0.2', nodeName: 'n1' }, { ip: '10.42.1.2', nodeName: 'n2' }])], onNode)
  assert.deepEqual(portals.map((portal) => [ips(portal), portal.masquerade]), [[['10.42.0.2'], false], [['10.42.0.2'], false]])
})

test('rules: one target directly, several at random, affinity by the hash of the client', () => {
  const rules = (targets: string[], affinity = false): string[] => [...rulesetOf([{ name: 'd/w:80', protocol: 'tcp', ip: '10.43.0.5', port: 80, affinity, masquerade: false, targets: targets.map((ip) => ({ ip, port: 8080 })) }]).chains.values()]
  assert.deepEqual(rules(['10.42.0.2']), ['meta l4proto tcp dnat to 10.42.0.2:8080'])
  assert.deepEqual(rules(['10.42.0.2', '10.42.0.3']), ['meta l4proto tcp dnat ip to numgen random mod 2 map { 0 : 10.42.0.2 . 8080, 1 : 10.42.0.3 . 8080 }'])
  assert.match(rules(['10.42.0.2', '10.42.0.3'], true)[0] ?? '', /jhash ip saddr mod 2/)
  assert.deepEqual(rules([]), [])
})

test('a change of endpoints touches only the chain concerned; equal states need no transaction', () => {
  const a: Portal = { name: 'd/a:80', protocol: 'tcp', ip: '10.43.0.5', port: 80, affinity: false, masquerade: false, targets: [{ ip: '10.42.0.2', port: 80 }] }
  const b: Portal = { ...a, name: 'd/b:80', ip: '10.43.0.6' }
  const before = rulesetOf([a, b])
  assert.equal(changeScript(before, rulesetOf([a, b]), { table: 't' }), '')
  const script = changeScript(before, rulesetOf([a, { ...b, targets: [{ ip: '10.42.0.9', port: 80 }] }]), { table: 't' })
  assert.match(script, /flush chain ip t svc_d_b_80/)
  assert.doesNotMatch(script, /svc_d_a_80/)
  assert.match(script, /add element ip t hairpins \{ 10\.42\.0\.9 \. 10\.42\.0\.9 \}/)
  const removal = changeScript(before, rulesetOf([a]), { table: 't' })
  assert.ok(removal.indexOf('delete element') < removal.indexOf('delete chain'), 'elements go before the chain they lead to')
})

/** Plays a script of ours against a model of the kernel's table. */
function play(state: { chains: Map<string, string>; serviceIps: Map<string, string>; nodePorts: Map<string, string>; hairpins: Set<string> }, script: string): void {
  for (const line of script.split('\n').filter((each) => each !== '')) {
    const [, verb, what, rest = ''] = /^(add|flush|delete) (chain|rule|element) ip t (.*)$/.exec(line) ?? []
    const [first = ''] = rest.split(' ')
    if (what === 'chain' && verb === 'add') state.chains.set(first, '')
    else if (what === 'chain' && verb === 'flush') state.chains.set(first, '')
    else if (what === 'chain') {
      assert.ok(![...state.serviceIps.values(), ...state.nodePorts.values()].includes(first), `chain ${first} is still in use`)
      state.chains.delete(first)
    } else if (what === 'rule') state.chains.set(first, rest.slice(first.length + 1))
    else {
      const elements = (/\{ (.*) \}/.exec(rest)?.[1] ?? '').split(', ')
      const map = { service_ips: state.serviceIps, node_ports: state.nodePorts }[first]
      for (const element of elements) {
        if (map === undefined) {
          if (verb === 'add') state.hairpins.add(element)
          else assert.ok(state.hairpins.delete(element))
        }
        else if (verb === 'add') {
          const [key = '', chain = ''] = element.split(' : goto ')
          assert.ok(!map.has(key) && state.chains.has(chain))
          map.set(key, chain)
        } else assert.ok(map.delete(element))
      }
    }
  }
}

const target = fc.record({ ip: fc.integer({ min: 2, max: 6 }).map((n) => `10.42.0.${n}`), port: fc.constant(80) })
const portal: fc.Arbitrary<Portal> = fc.record({
  name: fc.constantFrom('d/a:80', 'd/b:80', 'd/c:x'), protocol: fc.constantFrom('tcp' as const, 'udp' as const), ip: fc.constantFrom('10.43.0.1', '10.43.0.2', undefined),
  port: fc.constantFrom(80, 443), targets: fc.uniqueArray(target, { maxLength: 3, selector: ({ ip }) => ip }), affinity: fc.boolean(), masquerade: fc.boolean(),
})

test('property: from any rule set to any other, the transaction leaves exactly the wanted rules', () => {
  const plain = ({ chains, serviceIps, nodePorts, hairpins }: Ruleset): unknown => [chains, serviceIps, nodePorts, hairpins]
  fc.assert(
    fc.property(fc.array(portal, { maxLength: 6 }), fc.array(portal, { maxLength: 6 }), (first, second) => {
      const [before, after] = [rulesetOf(first), rulesetOf(second)]
      const state = { chains: new Map<string, string>(), serviceIps: new Map<string, string>(), nodePorts: new Map<string, string>(), hairpins: new Set<string>() }
      play(state, changeScript(emptyRuleset, before, { table: 't' }))
      play(state, changeScript(before, after, { table: 't' }))
      assert.deepEqual(plain(state), plain(after))
    }),
  )
})

test('the first transaction replaces the whole table', () => {
  const script = replaceScript(emptyRuleset, { table: 't', serviceCidr: '10.43.0.0/16', podCidr: '10.42.0.0/24', bridgedTrafficFiltered: false })
  assert.match(script, /^table ip t \{\}\ndelete table ip t\ntable ip t \{/)
})
