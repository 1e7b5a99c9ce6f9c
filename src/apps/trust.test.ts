/** Whom the daemons trust: authorities that the machine's owner added count, as with dockerd. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { test } from 'node:test'
import { systemClock } from '#base/clock.ts'
import { systemRandom } from '#base/random.ts'
import { createAuthority } from '#cluster/apiserver/pki/authority.ts'
import { openKernel } from '#linux/real/kernel.ts'

const repository = resolve(import.meta.dirname, '../..')

test('an authority of the machine’s store is trusted', async () => {
  const folder = mkdtempSync(join(process.env['BERTH_TEST_ROOT'] ?? tmpdir(), 'trust-'))
  await using kernel = await openKernel()
  try {
    const { certificate } = await createAuthority('our company', 1, { clock: systemClock, random: systemRandom })
    const store = join(folder, 'store.pem')
    writeFileSync(store, certificate)
    const asked = await kernel.processes.run(['sh', join(repository, 'tools/node.sh'), '--print', "JSON.stringify(require('node:tls').getCACertificates('default'))"], { env: { PATH: '/usr/bin:/bin', SSL_CERT_FILE: store }, maxOutputBytes: 16 << 20 })
    assert.equal(asked.exitCode, 0, asked.stderr.toString())
    const trusted: unknown = JSON.parse(asked.stdout.toString())
    assert.ok(Array.isArray(trusted) && trusted.length > 100 && trusted.some((each) => String(each).trim() === certificate.trim()))
  } finally {
    rmSync(folder, { recursive: true })
  }
})
