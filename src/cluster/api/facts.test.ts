/**
 * The kinds against the facts of the Kubernetes API types: every field is there under its name, with its type, its protobuf
 * number, its list and patch keys, and its presence. Skipped where the facts are not on the machine (BERTH_FACTS).
 */
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import type { AnyField, FieldFacts, Shape } from '#schema/field.ts'
import { objectShape } from '#schema/vocabulary.ts'
import { Scale } from './autoscaling/v1/scale.ts'
import { allKinds } from './index.ts'
import { listMeta } from './meta/v1/list-meta.ts'
import { deleteOptions } from './meta/v1/options.ts'
import { status } from './meta/v1/status.ts'

interface Fact {
  readonly name: string
  readonly type: string
  readonly inline?: boolean
  readonly proto?: number
  readonly omitempty?: boolean
  readonly optional?: boolean
  readonly required?: boolean
  readonly listType?: string
  readonly listMapKeys?: readonly string[]
  readonly patchStrategy?: string
  readonly patchMergeKey?: string
  readonly mapType?: string
}
interface TypeFact {
  readonly fields?: readonly Fact[]
  readonly alias?: string
  readonly structType?: string
}
type Facts = { readonly [groupVersion: string]: { readonly [type: string]: TypeFact } }

const file = process.env['BERTH_FACTS'] ?? '/work/shared/data/kubernetes-api-facts.json'
const reason = existsSync(file) ? false : `no facts at ${file} (set BERTH_FACTS to kubernetes-api-facts.json)`

const packages: { readonly [name: string]: string } = { metav1: 'meta/v1', v1: 'v1', corev1: 'v1' }
const groups: { readonly [short: string]: string } = {
  'core.v1': 'v1', 'apps.v1': 'apps/v1', 'meta.v1': 'meta/v1', 'events.v1': 'events.k8s.io/v1', 'discovery.v1': 'discovery.k8s.io/v1', 'coordination.v1': 'coordination.k8s.io/v1', 'autoscaling.v1': 'autoscaling/v1',
  'rbac.v1': 'rbac.authorization.k8s.io/v1',
}

interface PlacedFact extends Fact {
  readonly path: readonly number[]
  readonly group: string
}

/** Fields of a type with those of inlined structs, each with its path of protobuf numbers. */
function flat(facts: Facts, group: string, type: string, outer: readonly number[] = []): PlacedFact[] {
  return (facts[group]?.[type]?.fields ?? []).flatMap((fact): PlacedFact[] => {
    if (fact.type.endsWith('TypeMeta')) return ['kind', 'apiVersion'].map((name) => ({ name, type: 'string', path: [], group, omitempty: true }))
    const path = fact.proto === undefined ? outer : [...outer, fact.proto]
    return fact.inline === true ? flat(facts, group, fact.type.replace('*', ''), path) : [{ ...fact, path, group }]
  })
}

/** What a Go type is in our vocabulary. */
function expectedShape(facts: Facts, group: string, goType: string): string {
  const type = goType.replace(/^\*/, '')
  const plain: { readonly [type: string]: string } = {
    string: 'string', 'types.UID': 'string', bool: 'boolean', int32: 'integer32', int64: 'integer64', '[]byte': 'bytes', 'resource.Quantity': 'quantity', 'intstr.IntOrString': 'intOrString',
    Time: 'time seconds', 'metav1.Time': 'time seconds', 'metav1.MicroTime': 'time micros', FieldsV1: 'raw',
  }
  const known = plain[type]
  if (known !== undefined) return known
  if (type.startsWith('[]')) return `list of ${expectedShape(facts, group, type.slice(2))}`
  if (type.startsWith('map[')) return `map of ${expectedShape(facts, group, type.slice(type.indexOf(']') + 1))}`
  const [prefix, name] = type.includes('.') ? type.split('.') : [undefined, type]
  const home = prefix === undefined ? group : (packages[prefix] ?? group)
  const alias = facts[home]?.[name ?? '']?.alias
  return alias === undefined ? `object ${name}` : expectedShape(facts, home, alias)
}

function actualShape(shape: Shape): string {
  switch (shape.type) {
    case 'integer':
      return `integer${shape.bits}`
    case 'time':
      return `time ${shape.precision}`
    case 'list':
    case 'map':
      return `${shape.type} of ${actualShape(shape.of.facts.shape)}`
    case 'object':
      // Embedded structs are flat here, so an ephemeral container is compared under its own name only.
      return `object ${shape.name.split('.').at(-1)}`
    case 'string':
    case 'boolean':
    case 'bytes':
    case 'quantity':
    case 'intOrString':
    case 'raw':
      return shape.type
  }
}

function describeLists(fact: Fact, { shape }: FieldFacts): readonly [string, string] {
  if (shape.type !== 'list') return ['', '']
  const merges = fact.patchStrategy?.includes('merge') === true
  return [
    [fact.listType ?? 'atomic', ...(fact.listMapKeys ?? []), merges ? 'merge' : 'replace', fact.patchMergeKey ?? ''].join(' '),
    [shape.merge, ...shape.keys, shape.patch, shape.patchKey ?? ''].join(' '),
  ]
}

/** Whether a client may leave the field out, by the facts. */
const mayBeAbsent = (fact: Fact): boolean => fact.required !== true && (fact.optional === true || fact.omitempty === true)

function compare(facts: Facts, of: AnyField, seen: Set<string>, differences: string[]): number {
  const shape = objectShape(of)
  if (seen.has(shape.name)) return 0
  seen.add(shape.name)
  const [group, type] = [groups[shape.name.split('.').slice(0, 2).join('.')] ?? '', shape.name.split('.').at(-1) ?? '']
  const expected = flat(facts, group, type)
  if (expected.length === 0 && facts[group]?.[type] === undefined) differences.push(`${shape.name}: no such type in the facts`)
  let compared = 0
  const say = (name: string, what: string, wanted: string, got: string): void => {
    if (wanted !== got) differences.push(`${shape.name}.${name}: ${what} is ${got}, the facts say ${wanted}`)
  }
  for (const fact of expected) {
    const field = shape.fields[fact.name]
    if (field === undefined) {
      differences.push(`${shape.name}.${fact.name}: missing`)
      continue
    }
    compared++
    say(fact.name, 'type', expectedShape(facts, fact.group, fact.type), actualShape(field.facts.shape))
    say(fact.name, 'protobuf number', fact.path.join('.'), field.facts.proto.join('.'))
    say(fact.name, 'list', ...describeLists(fact, field.facts))
    if (field.facts.shape.type === 'map') say(fact.name, 'map type', fact.mapType ?? 'granular', field.facts.shape.atomic ? 'atomic' : 'granular')
    if (mayBeAbsent(fact) && field.facts.presence === 'required') differences.push(`${shape.name}.${fact.name}: required, the facts say optional`)
    compared += nested(facts, field.facts.shape, seen, differences)
  }
  for (const name of Object.keys(shape.fields)) if (!expected.some((fact) => fact.name === name)) differences.push(`${shape.name}.${name}: not in the facts`)
  if ((facts[group]?.[type]?.structType === 'atomic') !== shape.atomic) differences.push(`${shape.name}: atomic is ${shape.atomic}`)
  return compared
}

function nested(facts: Facts, shape: Shape, seen: Set<string>, differences: string[]): number {
  if (shape.type === 'list' || shape.type === 'map') return shape.of.facts.shape.type === 'object' ? compare(facts, shape.of, seen, differences) : 0
  // Metadata of templates and of objects differ only in what the server assigns.
  return shape.type === 'object' ? compare(facts, fieldOfShape(shape), seen, differences) : 0
}

function fieldOfShape(shape: Shape): AnyField {
  return { facts: { shape } } as AnyField
}

test('every kind has exactly the fields of upstream, with their types, numbers and keys', { skip: reason }, () => {
  const facts: Facts = JSON.parse(readFileSync(file, 'utf8'))
  const [seen, differences] = [new Set<string>(), [] as string[]]
  const roots = [...allKinds.map(({ schema }) => schema), Scale.schema, listMeta, status, deleteOptions]
  const compared = roots.reduce((sum, root) => sum + compare(facts, root, seen, differences), 0)
  assert.deepEqual(differences, [])
  assert.ok(compared > 900, `only ${compared} fields compared`)
})

test('every field with a value on the wire has a protobuf number of its own', () => {
  const visit = (of: AnyField, seen: Set<string>): void => {
    const shape = objectShape(of)
    if (seen.has(shape.name)) return
    seen.add(shape.name)
    const numbers = Object.entries(shape.fields).filter(([name, { facts }]) => facts.proto.length > 0 || !(name === 'kind' || name === 'apiVersion')).map(([, { facts }]) => facts.proto.join('.'))
    assert.ok(numbers.every((number) => number !== ''), shape.name)
    assert.equal(new Set(numbers).size, numbers.length, shape.name)
    for (const { facts } of Object.values(shape.fields)) {
      const inner = facts.shape.type === 'list' || facts.shape.type === 'map' ? facts.shape.of : fieldOfShape(facts.shape)
      if (inner.facts.shape.type === 'object') visit(inner, seen)
    }
  }
  for (const { schema } of allKinds) visit(schema, new Set())
})
