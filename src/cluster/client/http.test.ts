/** The HTTP client against a TLS server that answers as scripted: what goes over the wire, faults, retries, watches. */
import assert from 'node:assert/strict'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import { test } from 'node:test'
import { systemClock } from '#base/clock.ts'
import { isFault } from '#base/fault.ts'
import { selfSigned } from '#base/self-signed.fixture.ts'
import type { Stored } from '#schema/kind.ts'
import { defineKind } from '#schema/kind.ts'
import { int32, object } from '#schema/vocabulary.ts'
import type { HttpClient } from './http.ts'
import { createHttpClient } from './http.ts'

const Thing = defineKind({ group: 'test.io', version: 'v1', kind: 'Thing', plural: 'things', namespaced: true, fields: { spec: object('test.v1.ThingSpec', { size: int32().omitEmpty() }).omitEmpty() } })

interface Asked {
  readonly line: string
  readonly body: unknown
  readonly headers: IncomingMessage['headers']
}

async function withServer(answer: (response: ServerResponse, asked: Asked, count: number) => void, use: (client: HttpClient, asked: Asked[]) => Promise<void>, options: { watchIdleMs?: number } = {}): Promise<void> {
  const { cert, key } = await selfSigned()
  const asked: Asked[] = []
  const server = createServer({ cert, key }, (request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const text = Buffer.concat(chunks).toString()
      const entry = { line: `${request.method} ${request.url}`, body: text === '' ? undefined : JSON.parse(text), headers: request.headers }
      asked.push(entry)
      answer(response, entry, asked.length)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  assert.ok(typeof address === 'object' && address !== null)
  const client = createHttpClient({ server: `https://127.0.0.1:${address.port}`, ca: cert, token: () => 'sesame', clock: systemClock, ...options })
  try {
    await use(client, asked)
  } finally {
    client[Symbol.dispose]()
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
}

function json(response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))
}
const stored: Stored<typeof Thing> = { apiVersion: 'test.io/v1', kind: 'Thing', metadata: { namespace: 'default', name: 'a', resourceVersion: '7', uid: 'u', creationTimestamp: '2026-01-01T00:00:00Z' } }

test('verbs become the requests of the API conventions', async () => {
  await withServer(
    (response, { line }) => json(response, 200, line.startsWith('GET /apis/test.io/v1/things') ? { kind: 'ThingList', metadata: { resourceVersion: '9', continue: 'next' }, items: [stored] } : stored),
    async (client, asked) => {
      assert.equal((await client.get(Thing, { namespace: 'default', name: 'a' })).metadata.resourceVersion, '7')
      const list = await client.list(Thing, { labelSelector: 'app in (x,y)', limit: 2 })
      assert.equal(list.resourceVersion, '9')
      assert.equal(list.continue, 'next')
      await client.create(Thing, { metadata: { namespace: 'default', name: 'a' } }, { fieldManager: 'me' })
      await client.update(Thing, stored, { subresource: 'status' })
      await client.patch(Thing, { namespace: 'default', name: 'a' }, { spec: { size: 1 } }, { type: 'strategic' })
      await client.delete(Thing, { namespace: 'default', name: 'a' }, { preconditions: { uid: 'u' }, gracePeriodSeconds: 0 })
      await client.createSubresource(Thing, { namespace: 'default', name: 'a' }, 'binding', { target: { name: 'node-1' } })
      const base = '/apis/test.io/v1/namespaces/default/things'
      assert.deepEqual(asked.map(({ line }) => line), [
        `GET ${base}/a`, 'GET /apis/test.io/v1/things?labelSelector=app+in+%28x%2Cy%29&limit=2', `POST ${base}?fieldManager=me`,
        `PUT ${base}/a/status`, `PATCH ${base}/a`, `DELETE ${base}/a`, `POST ${base}/a/binding`,
      ])
      assert.deepEqual(asked[2]?.body, { apiVersion: 'test.io/v1', kind: 'Thing', metadata: { namespace: 'default', name: 'a' } })
      assert.equal(asked[4]?.headers['content-type'], 'application/strategic-merge-patch+json')
      assert.deepEqual(asked[5]?.body, { kind: 'DeleteOptions', apiVersion: 'v1', preconditions: { uid: 'u' }, gracePeriodSeconds: 0 })
      assert.ok(asked.every(({ headers }) => headers.authorization === 'Bearer sesame'))
    },
  )
})

test('a Status becomes the fault it names, with its causes', async () => {
  const status = { kind: 'Status', status: 'Failure', reason: 'Invalid', code: 422, message: 'Thing "a" is invalid', details: { causes: [{ reason: 'FieldValueInvalid', message: 'must be positive', field: 'spec.size' }] } }
  await withServer(
    (response) => json(response, 422, status),
    async (client) => {
      await assert.rejects(client.update(Thing, stored), (error) => isFault(error, 'unprocessable') && error.causes[0]?.field === 'spec.size')
    },
  )
  await withServer(
    (response) => response.writeHead(502).end('bad gateway'),
    async (client) => {
      await assert.rejects(client.get(Thing, { namespace: 'x', name: 'a' }), (error) => isFault(error, 'unavailable') && error.message.includes('bad gateway'))
    },
  )
})

test('a read is asked again when the connection breaks, a write is not, and a 429 is always', async () => {
  await withServer(
    (response, _asked, count) => (count === 1 ? response.destroy() : json(response, 200, stored)),
    async (client, asked) => {
      await client.get(Thing, { namespace: 'default', name: 'a' })
      assert.equal(asked.length, 2)
    },
  )
  await withServer(
    (response) => response.destroy(),
    async (client, asked) => {
      await assert.rejects(client.update(Thing, stored), (error) => isFault(error, 'unavailable') && error.details['maybeDone'] === true)
      assert.equal(asked.length, 1)
    },
  )
  await withServer(
    (response, _asked, count) => (count === 1 ? json(response, 429, {}, { 'retry-after': '0' }) : json(response, 200, stored)),
    async (client, asked) => {
      await client.update(Thing, stored)
      assert.equal(asked.length, 2)
    },
  )
})

test('a watch streams events split anywhere, and ends with the fault of an ERROR event', async () => {
  const lines = [{ type: 'ADDED', object: stored }, { type: 'BOOKMARK', object: { kind: 'Thing', metadata: { resourceVersion: '12' } } }, { type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired', message: 'too old' } }]
  await withServer(
    (response) => {
      const text = lines.map((line) => `${JSON.stringify(line)}\n`).join('')
      response.writeHead(200, { 'content-type': 'application/json' })
      response.write(text.slice(0, 30))
      response.end(text.slice(30))
    },
    async (client, asked) => {
      const seen: string[] = []
      await assert.rejects(
        async () => {
          for await (const event of client.watch(Thing, { namespace: 'default', resourceVersion: '5' })) seen.push(event.type === 'BOOKMARK' ? `bookmark ${event.resourceVersion}` : `${event.type} ${event.object.metadata.name}`)
        },
        (error) => isFault(error, 'expired') && error.message === 'too old',
      )
      assert.deepEqual(seen, ['ADDED a', 'bookmark 12'])
      assert.equal(asked[0]?.line, 'GET /apis/test.io/v1/namespaces/default/things?watch=true&allowWatchBookmarks=true&resourceVersion=5')
    },
  )
})

test('a silent watch is cut, an aborted one ends quietly', async () => {
  await withServer(
    (response) => void response.writeHead(200, { 'content-type': 'application/json' }).write('\n'),
    async (client) => {
      await assert.rejects(
        async () => {
          for await (const event of client.watch(Thing, { resourceVersion: '5' })) assert.fail(event.type)
        },
        (error) => isFault(error, 'unavailable') && error.message.includes('silent'),
      )
      const controller = new AbortController()
      const watching = (async () => {
        for await (const event of client.watch(Thing, { resourceVersion: '5', signal: controller.signal })) assert.fail(event.type)
      })()
      controller.abort()
      await watching
    },
    { watchIdleMs: 40 },
  )
})
