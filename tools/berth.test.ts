/** The whole program as a user meets it: up, the tour, bad input through the command line, down; nothing is left behind. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { join, resolve } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { resolveConfig } from '../src/apps/config/config.ts'
import { nftTables } from '../src/apps/config/names.ts'
import { openKernel } from '../src/linux/real/kernel.ts'
import { type BerthInstance, createInstance } from './instance.ts'

const repository = resolve(import.meta.dirname, '..')

describe('berth from up to down', () => {
  let instance: BerthInstance & Disposable

  before(() => {
    instance = createInstance()
    instance.up()
  })

  after(() => instance[Symbol.dispose]())

  function refused(args: readonly string[], expected: RegExp, input?: string): void {
    const result = instance.berth(args, input)
    assert.notEqual(result.status, 0, `berth ${args.join(' ')} was accepted:\n${result.stdout}`)
    assert.match(result.stderr + result.stdout, expected)
  }

  function context(name: string, dockerfile: string): string {
    const folder = join(instance.root, name)
    mkdirSync(folder)
    writeFileSync(join(folder, 'Dockerfile'), dockerfile)
    writeFileSync(join(folder, 'busybox'), readFileSync('/bin/busybox'), { mode: 0o755 })
    return folder
  }

  test('status says that everything is ready, in words and in JSON', () => {
    const result = instance.berth(['status', '--output', 'json'])
    assert.equal(result.status, 0, result.stdout + result.stderr)
    assert.equal(JSON.parse(result.stdout).healthy, true)
  })

  test('the tour holds', { timeout: 240_000 }, () => {
    const tour = spawnSync(process.execPath, [join(repository, 'tools/tour.ts')], { env: instance.env, encoding: 'utf8' })
    assert.equal(tour.status, 0, tour.stdout + tour.stderr)
    assert.match(tour.stdout, /All of it held/)
  })

  test("a container's exit code, output and limits are what docker users expect", () => {
    const folder = context('base', 'FROM scratch\nCOPY busybox /bin/busybox\nRUN ["/bin/busybox","--install","-s","/bin"]\nCMD ["sh"]\n')
    assert.equal(instance.berth(['build', '-q', '-t', 'base', folder]).status, 0)
    assert.equal(instance.berth(['run', '--rm', 'base', 'sh', '-c', 'exit 7']).status, 7)
    assert.equal(instance.berth(['run', '--rm', 'base', 'no-such-program']).status, 127)
    assert.equal(instance.berth(['run', '--rm', 'base', '/etc']).status, 126)
    assert.equal(instance.berth(['run', '--rm', 'base', 'echo', 'hello']).stdout, 'hello\n')
    assert.equal(instance.berth(['run', '--rm', '-i', 'base', 'cat'], 'through standard input').stdout, 'through standard input')
    assert.match(instance.berth(['run', '--rm', '-m', '32m', '--pids-limit', '16', 'base', 'sh', '-c', 'cat /proc/self/cgroup; hostname; ip addr show eth0']).stdout, /inet /)
  })

  test('what an image holds is attested by a scanner of one\'s choice', () => {
    const scan = 'printf \'{"predicateType":"https://spdx.dev/Document","predicate":{"files":"%s"}}\' $(ls $BUILDKIT_SCAN_SOURCE) > $BUILDKIT_SCAN_DESTINATION/a.spdx.json'
    assert.equal(instance.berth(['build', '-q', '-t', 'scanner', context('scanner', `FROM base\nRUN echo '${scan.replaceAll("'", "'\\''")}' > /scan\nENTRYPOINT ["sh","/scan"]\n`)]).status, 0)
    const folder = context('scanned', 'FROM scratch\nCOPY Dockerfile /found-in-it\n')
    const archive = join(folder, 'scanned.tar')
    const built = instance.berth(['build', '--sbom', 'generator=scanner', '--provenance', 'true', '-t', 'scanned', '--output', `type=oci,dest=${archive}`, folder])
    assert.equal(built.status, 0, built.stderr)
    const text = readFileSync(archive, 'latin1')
    assert.ok(text.includes('"predicate":{"files":"found-in-it"}'))
    assert.ok(text.includes('https://slsa.dev/provenance/'))
  })

  test('a broken Dockerfile names file, line and what was expected', () => {
    refused(['build', context('broken', 'FROM scratch\nCOPI busybox /\n')], /Dockerfile:2.*COPI/s)
    refused(['build', context('missing', 'FROM scratch\nCOPY nothing /\n')], /Dockerfile:2.*nothing/s)
    refused(['build', context('failing', 'FROM base\nRUN echo the last words; exit 3\n')], /Dockerfile:2.*3/s)
  })

  test('an unknown image, a duplicate name and a missing container are refused in plain words', () => {
    refused(['run', '--rm', 'localhost:1/no/such:image', 'true'], /no\/such/)
    assert.equal(instance.berth(['run', '-d', '--name', 'twin', 'base', 'sleep', '1000']).status, 0)
    refused(['run', '-d', '--name', 'twin', 'base', 'sleep', '1000'], /already in use/)
    refused(['stop', 'nobody'], /No such container: nobody/)
    assert.equal(instance.berth(['rm', '-f', 'twin']).status, 0)
  })

  test('an invalid object is refused with field path and reason', () => {
    const pod = (spec: object): string => JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'bad' }, spec })
    refused(['kube', 'apply', '-f', '-'], /spec\.containers: Required value/, pod({}))
    refused(['kube', 'apply', '-f', '-'], /spec\.containers\[0\]\.ports\[0\]\.containerPort/, pod({ containers: [{ name: 'a', image: 'base', ports: [{ containerPort: 99_999 }] }] }))
    refused(['kube', 'get', 'unicorns'], /doesn't have a resource type "unicorns"/)
    refused(['kube', 'get', 'pod', 'nobody'], /pods "nobody" not found/)
  })

  test('a pod that fits nowhere says why it is Pending', () => {
    const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'huge' }, spec: { containers: [{ name: 'a', image: 'base', resources: { requests: { cpu: '1000' } } }] } }
    assert.equal(instance.berth(['kube', 'apply', '-f', '-'], JSON.stringify(pod)).status, 0)
    let said = ''
    for (let attempt = 0; attempt < 100 && !/Insufficient cpu/.test(said); attempt += 1) said = instance.berth(['kube', 'get', 'pod', 'huge', '-o', 'json']).stdout
    assert.match(said, /0\/1 nodes are available: 1 Insufficient cpu/)
    assert.equal(instance.berth(['kube', 'delete', 'pod', 'huge']).status, 0)
  })

  test('down leaves no process, mount, link, nft table or cgroup; up again finds images and objects', async () => {
    const { instance: names } = resolveConfig({}, instance.env).config
    instance.down()
    assert.deepEqual(readFileSync('/proc/self/mounts', 'utf8').split('\n').filter((line) => line.includes(instance.root)), [])
    assert.deepEqual(Object.keys(networkInterfaces()).filter((name) => name.startsWith(names.linkPrefix)), [])
    {
      await using kernel = await openKernel()
      for (const table of nftTables(names)) assert.deepEqual(await kernel.nftables.list(table), [], table)
    }
    const groups = ['', ...readdirSync('/sys/fs/cgroup')].map((controller) => join('/sys/fs/cgroup', controller, names.name))
    assert.deepEqual(groups.filter((path) => existsSync(path)), [])
    instance.up()
    assert.match(instance.berth(['images']).stdout, /^base /m)
    assert.equal(instance.berth(['kube', 'get', 'namespace', 'default']).status, 0)
  })
})
