/** `GET /containers/{id}/attach/ws` with a real WebSocket client, over fakes. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, before, test } from 'node:test'
import { WebSocket } from 'ws'
import { openTestApi, type TestApi } from './api.fixture.ts'

let api: TestApi

before(async () => {
  api = await openTestApi()
})

after(async () => {
  await api[Symbol.asyncDispose]()
})

function dial(path: string): WebSocket {
  return new WebSocket(`ws+unix://${api.socketPath}:${path}`)
}

async function running(command: readonly string[]): Promise<string> {
  const id = await api.created(command, { OpenStdin: true, StdinOnce: true })
  await api.call('POST', `/containers/${id}/start`)
  return id
}

test('what is typed comes back in messages without frames, binary since 1.28 and text before', async () => {
  for (const [version, binary] of [['v1.50', true], ['v1.27', false]] as const) {
    const id = await running(['cat'])
    const client = dial(`/${version}/containers/${id}/attach/ws?stream=1&stdin=1&stdout=1&stderr=1`)
    await once(client, 'open')
    client.send('hello')
    const [data, isBinary]: unknown[] = await once(client, 'message')
    assert.equal(String(data), 'hello')
    assert.equal(isBinary, binary)
    client.close()
    await once(client, 'close')
    const { result } = await api.containers.wait(id, 'not-running')
    assert.equal((await result).exitCode, 0, 'the input ended with its only client')
  }
})

test('the socket closes in order when the container ends', async () => {
  const id = await api.created(['echo', 'bye'])
  const client = dial(`/containers/${id}/attach/ws?stream=1&stdout=1&logs=1`)
  await once(client, 'open')
  const said = once(client, 'message')
  const closed = once(client, 'close')
  await api.call('POST', `/containers/${id}/start`)
  assert.equal(String((await said)[0]), 'bye\n')
  assert.equal((await closed)[0], 1000)
})

test('an unknown container is 404, a request without the handshake 400', async () => {
  const client = dial('/containers/nope/attach/ws?stream=1')
  const [, response]: unknown[] = await once(client, 'unexpected-response')
  assert.equal(Object(response).statusCode, 404)
  client.on('error', () => undefined)
  client.terminate()
  const id = await api.created(['cat'])
  const answer = await api.call('GET', `/containers/${id}/attach/ws?stream=1`)
  assert.equal(answer.status, 400)
  assert.match(String(answer.json()['message']), /bad handshake/)
})
