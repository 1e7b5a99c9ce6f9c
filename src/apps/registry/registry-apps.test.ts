/** The registry's settings, and `berth registry serve` twice over one storage, as operators run it. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { join, resolve } from 'node:path'
import { test } from 'node:test'
import { hashSync } from 'bcryptjs'
import { present } from '#base/assert.ts'
import { sleep, systemClock } from '#base/clock.ts'
import { digestOf } from '#oci/digest.ts'
import { parseRegistrySettings } from './settings.ts'

const repository = resolve(import.meta.dirname, '../../..')

test('settings are read with their units, and what is wrong is refused with its place', () => {
  const { modes, address, s3 } = parseRegistrySettings(`
address: 0.0.0.0:5000
storage: { s3: { bucket: images, prefix: berth/, endpoint: 'http://s3:9000' } }
auth: { anonymousPull: false, rights: [ { users: [ci], repositories: ['team/**'], actions: [pull, push] } ] }
quota: { repository: 10GiB, total: 1.5TB }
mirrors: [ { prefix: docker.io/, upstream: docker.io, fresh: 30s } ]
retention: [ { repositories: 'team/**', tags: 'build-*', keepNewest: 10, keepFor: 7d, untaggedFor: 30d } ]
collect: { grace: 2h }
webhooks: [ { url: 'https://ci/hook', actions: [push] } ]
`, '/etc/berth/registry.yaml')
  assert.deepEqual(address, { host: '0.0.0.0', port: 5000 })
  assert.deepEqual(s3, { bucket: 'images', prefix: 'berth/', endpoint: 'http://s3:9000' })
  assert.deepEqual(modes.quota, { repositoryBytes: 10 * 2 ** 30, totalBytes: 1.5e12 })
  assert.deepEqual(modes.mirrors, [{ prefix: 'docker.io/', upstream: 'docker.io', insecure: false, freshMs: 30_000 }])
  assert.deepEqual(modes.collect, { graceMs: 7_200_000, everyMs: 21_600_000, retention: [{ repositories: 'team/**', tags: 'build-*', keepNewest: 10, keepForMs: 604_800_000, untaggedForMs: 2_592_000_000 }] })
  assert.deepEqual([modes.anonymousPull, modes.webhooks, modes.rights?.length], [false, [{ url: 'https://ci/hook', actions: ['push'] }], 1])
  for (const [text, words] of [
    ['adress: x', /r\.yaml: unknown setting 'adress': expected one of address, tls/],
    ['quota: { total: many }', /r\.yaml\.quota\.total: expected a size such as 500MB or 10GiB, found 'many'/],
    ['collect: { grace: 5 }', /r\.yaml\.collect\.grace/],
    ['mirrors: [ { prefix: a } ]', /r\.yaml\.mirrors\[0\]\.upstream/],
    ['auth: { htpasswd: nowhere }', /there is no file '\/etc\/nowhere'/],
    ['a: [', /r\.yaml: /],
  ] as const) assert.throws(() => parseRegistrySettings(text, '/etc/r.yaml'), words)
})

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  const { port } = server.address() as AddressInfo
  await new Promise((closed) => server.close(closed))
  return port
}

interface Served extends AsyncDisposable {
  readonly url: string
}

async function berth(root: string, ...args: string[]): Promise<{ readonly code: number | null; readonly text: string }> {
  const child = spawn(join(repository, 'bin/berth'), args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, BERTH_ROOT: root, DOCKER_CONFIG: root } })
  let text = ''
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (part: string) => (text += part))
  return { code: await new Promise((closed) => child.once('close', closed)), text }
}

async function serve(root: string, name: string, settings: string): Promise<Served> {
  const port = await freePort()
  const path = join(root, `${name}.yaml`)
  writeFileSync(path, `address: 127.0.0.1:${port}\n${settings}`)
  const child = spawn(join(repository, 'bin/berth'), ['registry', 'serve', '--config', path], { stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, BERTH_ROOT: root } })
  const ended = new Promise<void>((closed) => child.once('close', () => closed()))
  const url = `http://127.0.0.1:${port}`
  for (;;) {
    if (child.exitCode !== null) throw new Error(`${name} ended with ${child.exitCode}`)
    const healthy = await fetch(`${url}/healthz`).then((answer) => answer.ok, (error: unknown) => !(error instanceof TypeError))
    if (healthy) break
    await sleep(systemClock, 20)
  }
  return { url, [Symbol.asyncDispose]: async () => (child.kill('SIGTERM'), await ended) }
}

test('two processes over one folder: an upload begun at one ends at the other, and either collects', async () => {
  const root = mkdtempSync(join(present(process.env['BERTH_TEST_ROOT'], 'BERTH_TEST_ROOT'), 'ra-'))
  await using stack = new AsyncDisposableStack()
  stack.defer(() => rmSync(root, { recursive: true }))
  writeFileSync(join(root, 'users'), `joe:${hashSync('pw', 4)}\n`)
  const settings = 'storage: { folder: shared }\nauth: { htpasswd: users }\ncollect: { grace: 1ms }\n'
  const one = stack.use(await serve(root, 'one', settings))
  const two = stack.use(await serve(root, 'two', settings))
  const auth = Buffer.from('joe:pw').toString('base64')
  const headers = { Authorization: `Basic ${auth}` }
  const begun = await fetch(`${one.url}/v2/a/blobs/uploads/`, { method: 'POST', headers })
  const location = begun.headers.get('location') ?? ''
  assert.equal((await fetch(two.url + location, { method: 'PATCH', headers, body: 'hello ' })).status, 202)
  const digest = digestOf('hello world')
  assert.equal((await fetch(`${one.url}${location}?digest=${digest}`, { method: 'PUT', headers, body: 'world' })).status, 201)
  assert.equal(await (await fetch(`${two.url}/v2/a/blobs/${digest}`)).text(), 'hello world')
  const refused = await berth(root, 'registry', 'collect', new URL(two.url).host)
  assert.equal(refused.code, 1)
  assert.match(refused.text, /needs a login/)
  writeFileSync(join(root, 'config.json'), JSON.stringify({ auths: { [new URL(two.url).host]: { auth } } }))
  const collected = await berth(root, 'registry', 'gc', new URL(two.url).host)
  assert.deepEqual([collected.code, collected.text], [0, `Collected at ${new URL(two.url).host}: 0 tags, 0 manifests, 1 links, 11B\n`])
  assert.equal((await fetch(`${one.url}/v2/a/blobs/${digest}`)).status, 404)
})

test('settings without a storage are refused in words', async () => {
  const root = mkdtempSync(join(present(process.env['BERTH_TEST_ROOT'], 'BERTH_TEST_ROOT'), 'ra-'))
  await using stack = new AsyncDisposableStack()
  stack.defer(() => rmSync(root, { recursive: true }))
  writeFileSync(join(root, 'empty.yaml'), '')
  const { code, text } = await berth(root, 'registry', 'serve', '-c', join(root, 'empty.yaml'))
  assert.deepEqual([code, text], [1, 'berth: the settings name no storage: expected storage.folder or storage.s3\n'])
})
