/** The shared HTTP pieces: routing with slashes in the middle, bounded bodies, exact numbers. */
import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import fc from 'fast-check'
import { isFault } from './fault.ts'
import { parseTarget, readBody, RouteTable } from './http.ts'
import { jsonText } from './json.ts'

test('a name with slashes in the middle of the path is one parameter', () => {
  const routes = new RouteTable<string>().add('GET', '/v2/:name+/manifests/:reference', 'manifest').add('GET', '/v2/:name+/tags/list', 'tags')
  assert.deepEqual(routes.find('GET', '/v2/a/manifests/b/manifests/latest'), {
    kind: 'found', handler: 'manifest', params: { name: 'a/manifests/b', reference: 'latest' }, pattern: '/v2/:name+/manifests/:reference',
  })
  assert.equal(routes.find('GET', '/v2/a/b/tags/list').kind, 'found')
  assert.equal(routes.find('GET', '/v2//tags/list').kind, 'notFound')
})

test('fixed text wins over a parameter, HEAD falls back to GET, other methods are named', () => {
  const routes = new RouteTable<string>().add('GET', '/images/json', 'list').add('GET', '/images/:id', 'one').add('DELETE', '/images/:id', 'remove')
  const list = routes.find('HEAD', '/images/json')
  assert.equal(list.kind === 'found' ? list.handler : undefined, 'list')
  assert.deepEqual(routes.find('PUT', '/images/x'), { kind: 'methodNotAllowed', allow: ['DELETE', 'GET'] })
})

test('every parameter comes back as it was encoded', () => {
  const routes = new RouteTable<string>().add('GET', '/a/:one/:rest+/end', 'x')
  fc.assert(
    fc.property(fc.string({ minLength: 1, unit: 'grapheme' }).filter((text) => text.isWellFormed()), (text) => {
      const found = routes.find('GET', `/a/${encodeURIComponent(text)}/${encodeURIComponent(text)}/end`)
      assert.deepEqual(found.kind === 'found' ? { ...found.params } : undefined, { one: text, rest: text })
    }),
  )
  assert.throws(() => routes.find('GET', '/a/%ff/x/end'), (error) => isFault(error, 'invalidArgument'))
})

test('a body over its bound is refused', async () => {
  await assert.rejects(readBody(Readable.from([Buffer.alloc(6), Buffer.alloc(6)]), { maxBytes: 10 }), (error) => isFault(error, 'tooLarge'))
  assert.equal((await readBody(Readable.from([]), { maxBytes: 10 })).length, 0)
})

test('a bigint is printed exactly', () => {
  assert.equal(jsonText({ timeNano: 1795410341000000001n }), '{"timeNano":1795410341000000001}')
})

test('a target is split into path and query', () => {
  const { path, query } = parseTarget('http://host/v1.41/x?a=1&a=2')
  assert.equal(path, '/v1.41/x')
  assert.deepEqual(query.getAll('a'), ['1', '2'])
})
