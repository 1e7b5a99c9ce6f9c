/** Where a credential comes from: docker's config, its helpers, root's own file. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { present } from '#base/assert.ts'
import { registryAuth } from './credentials.ts'
import type { CredentialHelper } from './credentials.ts'

const encoded = (text: string): string => Buffer.from(text).toString('base64')

async function authFor(reference: string, config: unknown, helper?: CredentialHelper): Promise<unknown> {
  const folder = mkdtempSync(join(present(process.env['BERTH_TEST_ROOT'], 'BERTH_TEST_ROOT'), 'cr-'))
  const file = join(folder, 'config.json')
  writeFileSync(file, JSON.stringify(config))
  try {
    const { 'X-Registry-Auth': header } = await registryAuth(reference, { files: [join(folder, 'none.json'), file], ...(helper === undefined ? {} : { helper }) })
    return header === undefined ? undefined : JSON.parse(Buffer.from(header, 'base64url').toString())
  } finally {
    rmSync(folder, { recursive: true })
  }
}

test('stored credentials are found by host, for Docker Hub by its old address, tokens too', async () => {
  const config = { auths: { 'r.example:5000': { auth: encoded('joe:p:w') }, 'https://index.docker.io/v1/': { auth: encoded('hub:pw') }, 'https://old.example/v1/': { auth: encoded('old:pw') }, 't.example': { auth: encoded('joe:'), identitytoken: 'refresh' }, 'empty.example': {} } }
  assert.deepEqual(await authFor('r.example:5000/app', config), { username: 'joe', password: 'p:w', serveraddress: 'r.example:5000' })
  assert.deepEqual(await authFor('busybox', config), { username: 'hub', password: 'pw', serveraddress: 'https://index.docker.io/v1/' })
  assert.deepEqual(await authFor('old.example/app:1', config), { username: 'old', password: 'pw', serveraddress: 'old.example' })
  assert.deepEqual(await authFor('t.example/app', config), { username: 'joe', password: '', identitytoken: 'refresh', serveraddress: 't.example' })
  assert.equal(await authFor('empty.example/app', config), undefined)
})

test('helpers are asked, the one of the host before the one for all, and what they do not know may be stored', async () => {
  const asked: string[] = []
  const helper: CredentialHelper = async (argv, input) => {
    asked.push(`${argv.join(' ')} ${input}`)
    if (input === 'a.example') return '{"ServerURL":"a.example","Username":"joe","Secret":"s"}'
    return input === 'b.example' ? '{"Username":"<token>","Secret":"t"}' : undefined
  }
  const config = { credsStore: 'all', credHelpers: { 'a.example': 'own' }, auths: { 'c.example': { auth: encoded('c:pw') } } }
  assert.deepEqual(await authFor('a.example/x', config, helper), { username: 'joe', password: 's', serveraddress: 'a.example' })
  assert.deepEqual(await authFor('b.example/x', config, helper), { identitytoken: 't', serveraddress: 'b.example' })
  assert.deepEqual(await authFor('c.example/x', config, helper), { username: 'c', password: 'pw', serveraddress: 'c.example' })
  assert.deepEqual(asked, ['docker-credential-own get a.example', 'docker-credential-all get b.example', 'docker-credential-all get c.example'])
  await assert.rejects(authFor('a.example/x', config, async () => 'oops'), /docker-credential-own printed no credential/)
})
