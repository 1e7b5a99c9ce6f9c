/** Archives that clients send, made to leave their root: into a container, as an image, as a build's context. The host is looked at afterwards. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { openKernel } from '#linux/real/kernel.ts'
import { sampleTar, type Sample } from '#oci/layer/archive-samples.ts'
import { busyboxMissing, field, messageOf, openRealEngine, text, type Answer, type ApiClient, type RealEngine } from '../real-engine.fixture.ts'

suite('archives that want out', { skip: busyboxMissing }, () => {
  let real: RealEngine
  let client: ApiClient
  /** A folder of the host that no archive may reach: a file to read, nothing beside it. */
  let outside: string
  before(async () => {
    real = await openRealEngine(await openKernel(), { name: 'harc', subnet: '172.29.112.0/22' })
    client = real.client
    outside = join(real.root, 'outside')
    mkdirSync(outside)
    writeFileSync(join(outside, 'secret'), 'secret of the host')
  })
  after(() => real[Symbol.asyncDispose]())

  const up = '../'.repeat(20)
  /** Each writes, or reads, at `outside` when it is obeyed by the letter. */
  const hostile = (): Readonly<Record<string, readonly Sample[]>> => ({
    'a path upwards': [{ path: `${up}${outside.slice(1)}/written`, content: 'x' }],
    'an absolute path': [{ path: `${outside}/written`, content: 'x' }],
    'an absolute link, and a file through it': [{ path: 'door', type: 'symlink', link: outside }, { path: 'door/written', content: 'x' }],
    'a link upwards, and a file through it': [{ path: 'door', type: 'symlink', link: `${up}${outside.slice(1)}` }, { path: 'door/written', content: 'x' }],
    'a link, and a folder in its place': [{ path: 'door', type: 'symlink', link: outside }, { path: 'door', type: 'directory', mode: 0o777 }, { path: 'door/written', content: 'x' }],
    'a hard link upwards': [{ path: 'taken', type: 'hardlink', link: `${up}${outside.slice(1)}/secret` }],
    'a hard link through a link': [{ path: 'door', type: 'symlink', link: outside }, { path: 'taken', type: 'hardlink', link: 'door/secret' }],
    'a whiteout upwards': [{ path: `${up}${outside.slice(1)}/.wh.secret`, content: '' }],
  })

  const unharmed = (what: string): void => {
    assert.deepEqual(readdirSync(outside), ['secret'], what)
    assert.equal(readFileSync(join(outside, 'secret'), 'utf8'), 'secret of the host', what)
  }
  /** What was made stayed inside, or nothing was made; either way it is an answer of Docker's kind. */
  const refusedOrDone = (answer: Answer, what: string): void => assert.ok([200, 201, 400, 403, 404, 409].includes(answer.status), `${what}: ${answer.status} ${messageOf(answer.body)}`)
  const holdsNoSecret = (bytes: Buffer, what: string): void => assert.ok(!bytes.includes('secret of the host'), what)

  test('copied into a container, stopped or running, they stay in it', async () => {
    for (const state of ['stopped', 'running']) {
      for (const [what, samples] of Object.entries(hostile())) {
        const id = await client.start('sleep 1000')
        if (state === 'stopped') await client.call('POST', `/containers/${id}/kill`)
        if (state === 'stopped') await client.call('POST', `/containers/${id}/wait`)
        const answer = await client.call('PUT', `/containers/${id}/archive?path=/`, sampleTar(samples))
        refusedOrDone(answer, `${what}, ${state}`)
        unharmed(`${what}, ${state}`)
        const taken = await client.bytes('GET', `/containers/${id}/archive?path=/taken`)
        holdsNoSecret(taken.bytes, `${what}, ${state}`)
        await client.remove(id)
      }
    }
  })

  test('a container that lays links does not lead a copy in or out of it', async () => {
    for (const link of [outside, `${up}${outside.slice(1)}`]) {
      const id = await client.start(`ln -s ${link} /door; echo ready; sleep 1000`)
      await client.exec(id, 'until [ -L /door ]; do :; done')
      for (const state of ['running', 'stopped']) {
        assert.equal((await client.call('GET', `/containers/${id}/archive?path=/door/secret`)).status, 404, state)
        assert.equal((await client.call('PUT', `/containers/${id}/archive?path=/door`, sampleTar([{ path: 'written', content: 'x' }]))).status, 404, state)
        holdsNoSecret((await client.bytes('GET', `/containers/${id}/archive?path=/door/.`)).bytes, state)
        unharmed(`${link}, ${state}`)
        if (state === 'running') await client.call('POST', `/containers/${id}/kill`)
        if (state === 'running') await client.call('POST', `/containers/${id}/wait`)
      }
      await client.remove(id)
    }
  })

  test('imported as an image, and loaded as a layer, they are refused or stay inside', async () => {
    for (const [what, samples] of Object.entries(hostile())) {
      refusedOrDone(await client.call('POST', '/images/create?fromSrc=-&repo=hostile&tag=1', sampleTar(samples)), what)
      unharmed(what)
      const layer = sampleTar(samples)
      const config = JSON.stringify({ architecture: 'amd64', os: 'linux', config: { Cmd: ['true'] }, rootfs: { type: 'layers', diff_ids: [`sha256:${createHash('sha256').update(layer).digest('hex')}`] } })
      const manifest = JSON.stringify([{ Config: 'config.json', RepoTags: ['hostile:2'], Layers: ['layer.tar'] }])
      refusedOrDone(await client.call('POST', '/images/load', sampleTar([{ path: 'config.json', content: config }, { path: 'layer.tar', content: layer }, { path: 'manifest.json', content: manifest }])), what)
      unharmed(what)
      for (const image of ['hostile:1', 'hostile:2']) await readsNothing(image, what)
    }
  })

  /** Where the image was made after all, what a container of it holds is not the host's. */
  async function readsNothing(image: string, what: string): Promise<void> {
    const created = await client.call('POST', '/containers/create', { Image: image, Cmd: ['true'] })
    if (created.status !== 201) return
    const id = text(field(created.body, 'Id'))
    holdsNoSecret((await client.bytes('GET', `/containers/${id}/export`)).bytes, what)
    unharmed(what)
    await client.remove(id)
  }

  test('an archive to load whose list names files outside of it reads none of them', async () => {
    const secret = join(outside, 'secret')
    for (const name of [secret, `${up}${secret.slice(1)}`, 'door']) {
      const manifest = JSON.stringify([{ Config: name, RepoTags: ['hostile:3'], Layers: [name] }])
      const { status, bytes } = await client.bytes('POST', '/images/load', sampleTar([{ path: 'door', type: 'symlink', link: secret }, { path: 'manifest.json', content: manifest }]))
      holdsNoSecret(bytes, name)
      assert.ok(status === 400 || bytes.includes('"error"'), `${name}: ${status} ${bytes.toString()}`)
    }
    assert.equal((await client.call('GET', '/images/hostile:3/json')).status, 404)
  })

  test('a build takes from its context what is in it, and nothing of the host', async () => {
    const dockerfile: Sample = { path: 'Dockerfile', content: 'FROM bb:1\nCOPY . /context/\n' }
    for (const [what, samples] of Object.entries(hostile())) {
      const { status, bytes } = await client.bytes('POST', '/build?t=hostile:4', sampleTar([dockerfile, ...samples]))
      assert.ok(status === 200 || status === 400, `${what}: ${status} ${bytes.toString()}`)
      unharmed(what)
      await readsNothing('hostile:4', what)
    }
    for (const source of ['door/secret', 'door', `${up}${outside.slice(1)}/secret`]) {
      const context = [{ path: 'Dockerfile', content: `FROM bb:1\nCOPY ${source} /taken\n` }, { path: 'door', type: 'symlink' as const, link: outside }]
      const { bytes } = await client.bytes('POST', '/build?t=hostile:5', sampleTar(context))
      holdsNoSecret(bytes, source)
      await readsNothing('hostile:5', source)
    }
    const linked = await client.bytes('POST', '/build?dockerfile=door/secret', sampleTar([{ path: 'door', type: 'symlink', link: outside }]))
    holdsNoSecret(linked.bytes, 'a Dockerfile through a link')
    assert.ok(!existsSync(join(outside, 'written')))
  })
})
