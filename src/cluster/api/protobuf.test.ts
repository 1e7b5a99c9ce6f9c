/** Kubernetes protobuf: what Go clients write is read, and what we write comes back the same. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isFault } from '#base/fault.ts'
import { withDefaults } from '#schema/defaults.ts'
import { exampleOf } from '#schema/example.ts'
import { decodeEnvelope, decodeMessage, decodeObjectMessage, encodeEnvelope, encodeList, encodeMessage, encodeObject, encodeWatchFrame } from '#schema/protobuf.ts'
import { protoFields, ProtoWriter } from '#base/proto-wire.ts'
import { arbitraryObject } from './arbitrary.suite.ts'
import { Lease } from './coordination/v1/lease.ts'
import { ConfigMap } from './core/v1/config-map.ts'
import { Pod } from './core/v1/pod.ts'
import { allKinds } from './index.ts'
import { listMeta } from './meta/v1/list-meta.ts'
import { deleteOptions } from './meta/v1/options.ts'

const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value))

test('a config map as client-go writes it is read', () => {
  // k8s\0, Unknown{typeMeta{v1, ConfigMap}, raw{metadata{name: "a"}, data{"k": "v"}}}
  const body = Buffer.from('6b38730' + '00a0f0a0276311209436f6e6669674d6170120d0a030a016112060a016b120176' + '1a002200', 'hex')
  const envelope = decodeEnvelope(body)
  assert.deepEqual([envelope.apiVersion, envelope.kind], ['v1', 'ConfigMap'])
  assert.deepEqual(plain(decodeObjectMessage(ConfigMap, envelope.raw)), { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'a' }, data: { k: 'v' } })
  const object = { metadata: { name: 'a' }, data: { k: 'v' } }
  assert.equal(encodeObject(ConfigMap, object).toString('hex'), body.toString('hex'))
})

test('structs that JSON has inline are messages of their own', () => {
  const pod = { spec: { volumes: [{ name: 'v', configMap: { name: 'c', items: [{ key: 'k', path: 'p' }] } }], containers: [{ name: 'a', livenessProbe: { tcpSocket: { port: 'http' }, periodSeconds: 5 } }] } }
  const raw = encodeMessage(Pod.schema, pod)
  assert.deepEqual(plain(decodeMessage(Pod.schema, raw)), pod)
  const spec = [...protoFields(raw)].find(({ number }) => number === 2)
  const volume = [...protoFields(spec?.bytes ?? Buffer.alloc(0))].find(({ number }) => number === 1)
  assert.deepEqual([...protoFields(volume?.bytes ?? Buffer.alloc(0))].map(({ number }) => number), [1, 2])
})

test('encoding any object of any kind and decoding it gives the object back', () => {
  for (const kind of allKinds) {
    fc.assert(
      fc.property(arbitraryObject(kind), (object) => {
        const stored = withDefaults(kind, object)
        const envelope = decodeEnvelope(encodeObject(kind, stored))
        const decoded = withDefaults(kind, decodeObjectMessage(kind, envelope.raw))
        assert.deepEqual(plain(decoded), plain(stored))
      }),
      { numRuns: 40 },
    )
  }
})

test('lists and watch frames wrap encoded objects', () => {
  const item = encodeMessage(ConfigMap.schema, exampleOf(ConfigMap, { metadata: { name: 'a' } }))
  const list = decodeEnvelope(encodeList(ConfigMap, listMeta, { resourceVersion: '5' }, [item, item]))
  assert.equal(list.kind, 'ConfigMapList')
  assert.deepEqual([...protoFields(list.raw)].map(({ number }) => number), [1, 2, 2])
  const frame = encodeWatchFrame('ADDED', encodeObject(ConfigMap, { metadata: { name: 'a' } }))
  assert.equal(frame.readUInt32BE(), frame.length - 4)
  // The event has no envelope of its own; the object in it has.
  const event = [...protoFields(frame.subarray(4))]
  assert.equal(event[0]?.bytes.toString(), 'ADDED')
})

test('options, micro times, packed numbers and unknown fields are understood', () => {
  assert.deepEqual(plain(decodeMessage(deleteOptions, encodeMessage(deleteOptions, { gracePeriodSeconds: 0, propagationPolicy: 'Foreground' }))), { gracePeriodSeconds: 0, propagationPolicy: 'Foreground' })
  const lease = { spec: { renewTime: '2026-01-02T03:04:05.678901Z', leaseTransitions: -1 } }
  assert.deepEqual(plain(decodeMessage(Lease.schema, encodeMessage(Lease.schema, lease))), lease)
  const writer = new ProtoWriter()
  writer.message(2, (spec) => {
    spec.message(14, (context) => context.bytes(4, Buffer.of(1, 0x80, 0x01)))
    spec.string(999, 'from the future')
  })
  assert.deepEqual(plain(decodeMessage(Pod.schema, writer.finish())), { spec: { securityContext: { supplementalGroups: [1, 128] } } })
})

test('what is no protobuf is refused and never overruns', () => {
  assert.throws(() => decodeEnvelope(Buffer.from('{}')), (error) => isFault(error, 'invalidArgument'))
  const whole = encodeObject(Pod, exampleOf(Pod, { metadata: { name: 'a' }, spec: { containers: [{ name: 'c', image: 'i' }] } }))
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(whole.length), (noise, cut) => {
      for (const body of [Buffer.concat([Buffer.from('k8s\0'), noise]), whole.subarray(0, cut)]) {
        try {
          decodeObjectMessage(Pod, decodeEnvelope(body).raw)
        } catch (error) {
          assert.ok(isFault(error, 'invalidArgument'), String(error))
        }
      }
    }),
  )
  assert.equal(encodeEnvelope({ apiVersion: 'v1', kind: 'Pod', raw: Buffer.alloc(0) }).subarray(0, 4).toString('latin1'), 'k8s\0')
})
