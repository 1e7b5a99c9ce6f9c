/** Certificates that TLS accepts, tokens that verify, seals that open only in their place, and what a second start does with all of it. */
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { systemClock, type Clock } from '#base/clock.ts'
import { isFault } from '#base/fault.ts'
import { systemRandom } from '#base/random.ts'
import { openPki, type Pki } from './files.ts'
import { kubeconfig } from './kubeconfig.ts'
import { aesSealer } from './sealer.ts'
import { serviceAccountTokens } from './service-account-tokens.ts'

const root = mkdtempSync(join(process.env['BERTH_TEST_ROOT'] ?? tmpdir(), 'pki-'))
after(() => rmSync(root, { recursive: true }))
const open = (folder: string, clock: Clock = systemClock, serverNames = ['10.0.0.5', 'host.example']): Promise<Pki> =>
  openPki({ folder: join(root, folder), serverNames, serviceAddress: '10.43.0.1', clock, random: systemRandom })

test('the serving certificate names the server, is signed by the authority, and lies in a private file', async () => {
  const pki = await open('a')
  const certificate = new X509Certificate(pki.server.certificate)
  const authority = new X509Certificate(pki.authority.certificate)
  assert.ok(certificate.checkIssued(authority) && certificate.verify(authority.publicKey))
  for (const name of ['localhost', 'host.example', 'kubernetes.default.svc.cluster.local']) assert.ok(certificate.checkHost(name), name)
  for (const address of ['127.0.0.1', '10.43.0.1', '10.0.0.5']) assert.ok(certificate.checkIP(address), address)
  assert.match(new X509Certificate(pki.admin.certificate).subject, /O=system:masters\nCN=kubernetes-admin/)
  assert.equal(statSync(join(root, 'a', 'ca.key')).mode & 0o777, 0o600)
  assert.equal(statSync(join(root, 'a')).mode & 0o777, 0o700)
  const config: unknown = JSON.parse(kubeconfig({ server: 'https://127.0.0.1:6443', authority: pki.authority.certificate, client: pki.admin }))
  assert.ok(typeof config === 'object' && config !== null && 'current-context' in config)
})

test('a later start keeps what is good, and renews what is near its end or lacks a name', async () => {
  const first = await open('b')
  const again = await open('b')
  assert.equal(again.server.certificate, first.server.certificate)
  const renamed = await open('b', systemClock, ['other.example'])
  assert.notEqual(renamed.server.certificate, first.server.certificate)
  assert.equal(renamed.admin.certificate, first.admin.certificate)
  const later: Clock = { ...systemClock, nowMs: () => systemClock.nowMs() + 300 * 86_400_000 }
  const renewed = await open('b', later, ['other.example'])
  assert.notEqual(renewed.admin.certificate, first.admin.certificate)
  assert.equal(renewed.authority.certificate, first.authority.certificate)
  assert.deepEqual(renewed.encryptionKey, first.encryptionKey)
})

test('a token verifies until it expires, and not after a change of one character', async () => {
  const pki = await open('c')
  let nowMs = systemClock.nowMs()
  const tokens = serviceAccountTokens({ key: pki.serviceAccountKey, issuer: 'https://issuer', clock: { ...systemClock, nowMs: () => nowMs }, random: systemRandom })
  const { token } = await tokens.issue({ namespace: 'ns', serviceAccount: { name: 'sa', uid: 'u' }, audiences: [], expirationSeconds: 600, boundTo: { kind: 'Pod', name: 'p', uid: 'pu' } })
  assert.deepEqual(tokens.verify(token), { namespace: 'ns', serviceAccount: { name: 'sa', uid: 'u' }, pod: { name: 'p', uid: 'pu' }, audiences: ['https://issuer'] })
  const [header, payload = '', signature] = token.split('.')
  const forged = Buffer.from(Buffer.from(payload, 'base64url').toString().replace('"sa"', '"xx"')).toString('base64url')
  for (const wrong of [`${header}.${forged}.${signature}`, `${header}.${payload}.`, 'nonsense', '']) assert.throws(() => tokens.verify(wrong), (error) => isFault(error, 'unauthenticated'))
  nowMs += 601_000
  assert.throws(() => tokens.verify(token), /expired/)
})

test('a sealed value opens in its own place only', () => {
  const sealer = aesSealer(systemRandom.bytes(32), systemRandom)
  const sealed = sealer.seal('/registry/secrets/a/b', Buffer.from('password'))
  assert.ok(!sealed.includes('password'))
  assert.equal(sealer.open('/registry/secrets/a/b', sealed).toString(), 'password')
  assert.throws(() => sealer.open('/registry/secrets/a/c', sealed), (error) => isFault(error, 'dataLoss'))
  assert.equal(sealer.open('/x', Buffer.from('{"plain":1}')).toString(), '{"plain":1}')
})
