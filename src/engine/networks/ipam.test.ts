/** Addresses, leases and host ports: what is given is unique, inside its range, and comes back. */
import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { test } from 'node:test'
import fc from 'fast-check'
import { isFault } from '#base/fault.ts'
import { AddressLeases, macOfAddress } from './ipam.ts'
import { contains, firstFreePrefix, formatAddress, formatPrefix, overlaps, parseAddress, requireAddress, requirePrefix } from '#base/ipv4.ts'
import { HostPorts } from './ports.ts'

test('addresses and prefixes are read and written exactly', () => {
  fc.assert(fc.property(fc.integer({ min: 0, max: 2 ** 32 - 1 }), (address) => assert.equal(parseAddress(formatAddress(address)), address)))
  assert.equal(formatPrefix(requirePrefix('172.29.3.4/16', 'subnet')), '172.29.0.0/16')
  for (const text of ['1.2.3', '1.2.3.256', '01.2.3.4', 'a.b.c.d', '']) assert.equal(parseAddress(text), undefined, text)
  assert.throws(() => requirePrefix('10.0.0.0/33', 'subnet'), (error) => isFault(error, 'invalidArgument'))
})

test('prefixes cut from a pool never overlap', () => {
  const taken = [requirePrefix('10.89.1.0/25', 'x')]
  for (let count = 0; count < 255; count += 1) {
    const prefix = firstFreePrefix(requirePrefix('10.89.0.0/16', 'pool'), 24, taken)
    assert.ok(prefix !== undefined && !taken.some((each) => overlaps(each, prefix)))
    taken.push(prefix)
  }
  assert.equal(firstFreePrefix(requirePrefix('10.89.0.0/16', 'pool'), 24, taken), undefined)
})

test('leases are unique, inside the range, and a freed one is used again last', () => {
  const leases = new AddressLeases({ subnet: '10.0.0.0/29', gateway: '10.0.0.1' })
  const all = [leases.take(), leases.take(), leases.take(), leases.take(), leases.take()]
  assert.deepEqual(all, ['10.0.0.2', '10.0.0.3', '10.0.0.4', '10.0.0.5', '10.0.0.6'])
  assert.throws(() => leases.take(), (error) => isFault(error, 'resourceExhausted'))
  leases.release('10.0.0.2')
  leases.release('10.0.0.5')
  leases.release('10.0.0.1')
  assert.deepEqual([leases.take(), leases.take()], ['10.0.0.2', '10.0.0.5'])
  assert.throws(() => leases.take('10.0.0.3'), (error) => isFault(error, 'permissionDenied'))
  assert.throws(() => leases.take('10.0.1.3'), (error) => isFault(error, 'invalidArgument'))
})

test('any order of taking and releasing keeps leases unique', () => {
  fc.assert(fc.property(fc.array(fc.nat({ max: 20 }), { maxLength: 200 }), (steps) => {
    const leases = new AddressLeases({ subnet: '10.0.0.0/28', ipRange: '10.0.0.8/29' })
    const held: string[] = []
    for (const step of steps) {
      if (step % 2 === 0 && held.length < 6) {
        const address = leases.take()
        assert.ok(!held.includes(address) && contains(requirePrefix('10.0.0.8/29', 'x'), requireAddress(address, 'x')))
        held.push(address)
      } else {
        const [address] = held.splice(step % Math.max(1, held.length), 1)
        if (address !== undefined) leases.release(address)
      }
    }
  }))
})

test('a MAC follows from its address', () => {
  assert.equal(macOfAddress('172.29.0.10'), '02:42:ac:1d:00:0a')
  assert.equal(macOfAddress('fd00::1:2'), '02:42:00:01:00:02')
})

test('a host port is given once; a range gives its first free port; all or nothing', async () => {
  const ports = new HostPorts(async (_protocol, _ip, port) => port !== 8001)
  const binding = { containerPort: 80, protocol: 'tcp', hostIp: '', hostPort: 8000 } as const
  assert.deepEqual(await ports.reserve([binding]), [{ ...binding, hostIp: '0.0.0.0' }])
  await assert.rejects(ports.reserve([{ ...binding, hostPort: 9000 }, { ...binding, hostIp: '127.0.0.1' }]), /Bind for 127\.0\.0\.1:8000 failed: port is already allocated/)
  assert.equal((await ports.reserve([{ ...binding, hostPort: 9000 }]))[0]?.hostPort, 9000)
  assert.equal((await ports.reserve([{ ...binding, hostPortEnd: 8005 }]))[0]?.hostPort, 8002)
  assert.equal((await ports.reserve([{ ...binding, protocol: 'udp' }]))[0]?.hostPort, 8000)
  await assert.rejects(ports.reserve([{ ...binding, hostPort: 8001 }]), /failed to bind host port for 0\.0\.0\.0:8001\/tcp: address already in use/)
  ports.release([{ ...binding, hostIp: '0.0.0.0', hostPort: 8000 }])
  assert.equal((await ports.reserve([{ ...binding, hostIp: '127.0.0.1' }]))[0]?.hostPort, 8000)
  assert.equal((await ports.reserve([{ ...binding, hostIp: '127.0.0.2' }]))[0]?.hostPort, 8000)
  const [chosen] = await ports.reserve([{ ...binding, hostPort: 0 }])
  assert.ok(chosen !== undefined && chosen.hostPort >= 32768)
})

test('a port that a process of the host listens on is refused', async () => {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  assert.ok(typeof address === 'object' && address !== null)
  try {
    await assert.rejects(new HostPorts().reserve([{ containerPort: 1, protocol: 'tcp', hostIp: '127.0.0.1', hostPort: address.port }]), /address already in use/)
    await assert.rejects(new HostPorts().reserve([{ containerPort: 1, protocol: 'tcp', hostIp: '203.0.113.9', hostPort: 1234 }]), /no such address/)
  } finally {
    await new Promise((resolve) => server.close(resolve))
  }
})
