/** A kind is data: what defineKind derives, and what the static types promise. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { defineKind } from './kind.ts'
import type { AnyKind, Stored, Submitted } from './kind.ts'
import { int32, object, objectShape, string } from './vocabulary.ts'

const Ship = defineKind({
  group: 'port.berth.dev',
  version: 'v1',
  kind: 'Ship',
  plural: 'ships',
  namespaced: true,
  fields: { spec: object('port.v1.ShipSpec', { crew: int32(0).default(3).proto(1), flag: string().omitEmpty().proto(2) }).always().proto(2) },
})

test('defineKind derives apiVersion, list kind, singular and the whole object', () => {
  const erased: AnyKind = Ship
  assert.equal(erased.apiVersion, 'port.berth.dev/v1')
  assert.equal(erased.listKind, 'ShipList')
  assert.equal(erased.singular, 'ship')
  assert.deepEqual(Object.keys(objectShape(erased.schema).fields), ['kind', 'apiVersion', 'metadata', 'spec'])
  assert.equal(objectShape(erased.schema).name, 'port.v1.Ship')
  assert.equal(erased.generation, false)
})

test('submitted objects may leave out what the server or a default fills in; stored objects have it', () => {
  const submitted: Submitted<typeof Ship> = { metadata: { name: 'a' }, spec: {} }
  const crewOf = (ship: Stored<typeof Ship>): number => ship.spec.crew
  const namespaceOf = (ship: Stored<typeof Ship>): string => ship.metadata.namespace
  assert.equal(submitted.spec?.crew, undefined)
  assert.equal(typeof crewOf, typeof namespaceOf)
})
