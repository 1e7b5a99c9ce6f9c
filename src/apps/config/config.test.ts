/** Precedence, origins and refusals of the configuration. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { nthAddress } from './addresses.ts'
import { resolveConfig } from './config.ts'
import { instanceOf } from './instance.ts'

const root = mkdtempSync(join(process.env['BERTH_TEST_ROOT'] ?? tmpdir(), 'cf-'))
after(() => rmSync(root, { recursive: true }))
mkdirSync(join(root, 'etc'))
const file = (text: string): void => writeFileSync(join(root, 'etc/config.yaml'), text)

test('flag beats environment beats file beats default, and each value knows where it came from', () => {
  file('apiPort: 1111\nnodeName: from-file\n')
  const { config, origins } = resolveConfig({ apiPort: '3333' }, { BERTH_ROOT: root, BERTH_API_PORT: '2222', BERTH_KUBELET_PORT: '4444' })
  assert.deepEqual([config.apiPort, config.kubeletPort, config.nodeName], [3333, 4444, 'from-file'])
  assert.deepEqual([origins['apiPort'], origins['kubeletPort'], origins['nodeName'], origins['podCidr']], ['flag', 'environment', 'file', 'default'])
  assert.equal(config.paths.dockerSocket, join(root, 'run/docker.sock'))
})

test('an unknown key and a wrong value are refused with their place', () => {
  file('apiPrt: 1\n')
  assert.throws(() => resolveConfig({}, { BERTH_ROOT: root }), /config\.yaml: unknown setting 'apiPrt': expected one of .*apiPort/)
  file('apiPort: many\n')
  assert.throws(() => resolveConfig({}, { BERTH_ROOT: root }), /config\.yaml: apiPort: 'many' is no port/)
  file('apiPort: [\n')
  assert.throws(() => resolveConfig({}, { BERTH_ROOT: root }), /config\.yaml:\d+:\d+: /)
})

test('every root has names, ranges and ports of its own; the default root has the plain ones', () => {
  assert.equal(instanceOf(undefined).name, 'berth')
  const [one, two] = [instanceOf('/srv/one'), instanceOf('/srv/two')]
  assert.match(one.id, /^[0-9a-f]{6}$/)
  for (const key of ['name', 'linkPrefix', 'podCidr', 'serviceCidr', 'bridgeCidr', 'apiPort'] as const) assert.notEqual(one[key], two[key])
  assert.deepEqual(instanceOf('/srv/one'), one)
})

test('nthAddress carries over bytes', () => {
  assert.equal(nthAddress('10.43.0.0/16', 10), '10.43.0.10')
  assert.equal(nthAddress('10.43.0.0/16', 258), '10.43.1.2')
})
