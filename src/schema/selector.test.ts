/** Selectors mean what kubectl users mean by them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isFault } from '#base/fault.ts'
import { defineKind } from './kind.ts'
import { checkFieldSelector, formatLabelSelector, matchesFields, matchesLabels, parseFieldSelector, parseLabelSelector, selects } from './selector.ts'
import { bool, object, string } from './vocabulary.ts'

test('every form of label requirement parses and matches', () => {
  const labels = { app: 'web', tier: 'front', gen: '7', 'example.com/x': '' }
  const yes = ['app=web', 'app==web', 'app = web', 'app!=db', 'tier in (front, back)', 'tier notin (back)', 'other notin (a)', 'other!=a', '!other', 'app', 'gen>6', 'gen<8', 'example.com/x=', 'app=web,tier=front', '']
  const no = ['app=db', 'app!=web', 'tier in (back)', '!app', 'other', 'gen>7', 'app>1', 'app=web,tier=back', 'other in (a,b)']
  for (const text of yes) assert.equal(matchesLabels(parseLabelSelector(text), labels), true, text)
  for (const text of no) assert.equal(matchesLabels(parseLabelSelector(text), labels), false, text)
  assert.equal(matchesLabels(parseLabelSelector('constructor'), labels), false)
})

test('what is no selector is refused, naming the part', () => {
  for (const text of ['a b', 'app in web', '=x', 'a=b=c', 'a=b,,c', 'a in (b', 'gen>x', `a=${'v'.repeat(64)}`, '-a']) {
    assert.throws(() => parseLabelSelector(text), (error) => isFault(error, 'invalidArgument'), text)
  }
})

test('formatting a parsed selector and parsing it again gives the same requirements', () => {
  const word = fc.stringMatching(/^[a-z][a-z0-9]{0,8}$/)
  const requirement = fc.oneof(
    fc.tuple(word, word).map(([key, value]) => `${key}=${value}`),
    fc.tuple(word, fc.uniqueArray(word, { minLength: 2, maxLength: 3 })).map(([key, values]) => `${key} notin (${values.sort().join(',')})`),
    word,
    word.map((key) => `!${key}`),
  )
  fc.assert(fc.property(fc.array(requirement, { maxLength: 4 }), (parts) => {
    const parsed = parseLabelSelector(parts.join(','))
    assert.deepEqual(parseLabelSelector(formatLabelSelector(parsed)), parsed)
  }))
})

test('an absent structured selector matches nothing, an empty one everything', () => {
  assert.equal(selects(undefined, { a: 'b' }), false)
  assert.equal(selects({}, undefined), true)
  assert.equal(selects({ matchLabels: { a: 'b' }, matchExpressions: [{ key: 'c', operator: 'DoesNotExist' }] }, { a: 'b' }), true)
})

const Ship = defineKind({
  group: 'port.berth.dev', version: 'v1', kind: 'Ship', plural: 'ships', namespaced: true, selectable: ['spec.flag', 'spec.afloat'],
  fields: { spec: object('port.v1.ShipSpec', { flag: string().omitEmpty().proto(1), afloat: bool().omitEmpty().proto(2) }).always().proto(2) },
})

test('field selectors compare text; what is absent is its zero value', () => {
  const ship = { metadata: { name: 'a,b' }, spec: { flag: 'dk' } }
  const matches = (text: string): boolean => matchesFields(Ship, parseFieldSelector(text), ship)
  assert.equal(matches('spec.flag=dk,spec.afloat=false'), true)
  assert.equal(matches('spec.flag!=dk'), false)
  assert.equal(matches('metadata.name=a\\,b'), true)
  assert.equal(matches(''), true)
  assert.throws(() => checkFieldSelector(Ship, parseFieldSelector('spec.crew=1')), /field label not supported: spec\.crew/)
  assert.throws(() => parseFieldSelector('spec.flag'), /invalid field selector/)
})
