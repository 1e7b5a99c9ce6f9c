/** Volumes, binds and tmpfs, seen from inside the container and on the host: what is copied, what is read-only, what spreads, what cannot be left. */
import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { after, before, suite, test } from 'node:test'
import { sleep, systemClock } from '#base/clock.ts'
import { openKernel } from '#linux/real/kernel.ts'
import { sampleTar } from '#oci/layer/archive-samples.ts'
import { busyboxMissing, field, messageOf, openRealEngine, text, type ApiClient, type RealEngine } from '../real-engine.fixture.ts'

suite('volumes and mounts', { skip: busyboxMissing }, () => {
  let real: RealEngine
  let client: ApiClient
  before(async () => {
    real = await openRealEngine(await openKernel(), { name: 'lmnt', subnet: '172.29.104.0/22' })
    client = real.client
  })
  after(() => real[Symbol.asyncDispose]())

  const seen = (script: string, host: object = {}, config: object = {}): Promise<string> => client.seen(script, host, config)
  const makeVolume = async (name: string, options: object = {}): Promise<string> => {
    const made = await client.call('POST', '/volumes/create', { Name: name, DriverOpts: options })
    assert.equal(made.status, 201, messageOf(made.body))
    return text(field(made.body, 'Mountpoint'))
  }
  const volume = (source: string, target: string, options: object = {}): object => ({ Mounts: [{ Type: 'volume', Source: source, Target: target, VolumeOptions: options }] })
  const folder = (name: string): string => {
    const path = join(real.root, name)
    mkdirSync(path, { recursive: true })
    return path
  }

  test('an empty volume starts with what the image has there, unless told not to, and only once', async () => {
    assert.equal(await seen('cat /data/from-image /data/deep/file; echo mine > /data/from-image', volume('cu', '/data')), 'image\ndeep')
    assert.equal(await seen('cat /data/from-image', volume('cu', '/data')), 'mine')
    assert.equal(await seen('ls /data', volume('nc', '/data', { NoCopy: true })), '')
    assert.equal(await seen('ls /data', { Binds: ['nc2:/data:nocopy'] }), '')
    assert.equal(await seen('cat /data/from-image', {}, { Volumes: { '/data': {} } }), 'image')
  })

  test('a subpath of a volume is mounted; one that is missing, absolute, or leads out through a link is not', async () => {
    const path = await makeVolume('sub')
    mkdirSync(join(path, 'a/b'), { recursive: true })
    writeFileSync(join(path, 'a/b/file'), 'inner\n')
    writeFileSync(join(path, 'file'), 'outer\n')
    symlinkSync('/etc', join(path, 'out'))
    symlinkSync('../../../../../..', join(path, 'up'))
    assert.equal(await seen('cat /x/file; ls /x', volume('sub', '/x', { Subpath: 'a/b' })), 'inner\nfile')
    assert.equal(await seen('cat /x', volume('sub', '/x', { Subpath: 'file' })), 'outer')
    assert.match((await client.run('ls /x', volume('sub', '/x', { Subpath: 'missing' }))).refusal, /cannot access path .*missing: no such file or directory/)
    // `/etc` of the volume, not of the host.
    assert.match((await client.run('ls /x', volume('sub', '/x', { Subpath: 'out' }))).refusal, /no such file or directory/)
    assert.equal(await seen('ls /x | sort | tr "\\n" " "', volume('sub', '/x', { Subpath: 'up' })), 'a file out up')
    assert.match((await client.run('true', volume('sub', '/x', { Subpath: '../x' }))).refusal, /subpath must be a relative path within the volume/)
    assert.match((await client.run('true', volume('', '/x', { Subpath: 'a' }))).refusal, /must not set Subpath when using anonymous volumes/)
    assert.match((await client.at('1.44').run('true', volume('sub', '/x', { Subpath: 'a' }))).refusal, /VolumeOptions.Subpath needs API v1.45 or newer/)
    await client.call('DELETE', '/volumes/sub')
    assert.deepEqual((await real.kernel.mounts.table(real.root)).filter(({ target }) => target.includes('subpaths')), [])
  })

  test('another image is mounted read-only, whole or in part, stays whole while the container is there, and nothing is left of it', async () => {
    // The disk is cleared behind an answer.
    const imagesUnmounted = async (): Promise<void> => {
      while ((await real.kernel.mounts.table(real.root)).some(({ target }) => target.includes('/images/'))) await sleep(systemClock, 5)
    }
    const made = await real.engine.images.importRoot(Readable.from([sampleTar([{ path: 'dir', type: 'directory' }, { path: 'dir/file', content: 'inner\n' }, { path: 'word', content: 'other\n' }, { path: 'up', type: 'symlink', link: '/dir' }])]), { name: 'other:1' })
    const image = (target: string, subpath?: string): object => ({ Type: 'image', Source: 'other:1', Target: target, ...(subpath === undefined ? {} : { ImageOptions: { Subpath: subpath } }) })
    const script = 'cat /x/word /x/dir/file /part/file /word; ls /up | tr "\\n" " "; touch /x/new 2>&1; grep -c "^overlay /x overlay ro," /proc/self/mounts'
    assert.equal(await seen(script, { Mounts: [image('/x'), image('/part', 'dir'), image('/word', 'word'), image('/up', 'up')] }), 'other\ninner\ninner\nother\nfile touch: /x/new: Read-only file system\n1')
    for (const [mount, words] of [
      [image('/x', 'missing'), /cannot access path .*missing: no such file or directory/],
      [image('/x', '../x'), /^invalid mount config for type "image": subpath must be a relative path within the volume$/],
      [{ Type: 'image', Target: '/x' }, /^invalid mount config for type "image": field Source must not be empty$/],
      [{ Type: 'image', Source: 'nosuch:1', Target: '/x' }, /^No such image: nosuch:1$/],
      [{ Type: 'image', Source: 'other:1', Target: '/x', VolumeOptions: {} }, /VolumeOptions must not be specified on mount type "image"/],
    ] as const) assert.match((await client.run('true', { Mounts: [mount] })).refusal, words)
    assert.equal((await client.at('1.47').run('true', { Mounts: [image('/x')] })).refusal, 'Mount type "Image" needs API v1.48 or newer')
    const id = await client.start('sleep 1000', { Mounts: [image('/x')] })
    const shown = field((await client.call('GET', `/containers/${id}/json`)).body, 'Mounts')
    assert.ok(Array.isArray(shown))
    assert.deepEqual([...['Type', 'Name', 'Destination', 'Mode', 'RW', 'Propagation'].map((key) => field(shown[0], key))], ['image', 'other:1', '/x', '', false, 'rprivate'])
    assert.equal(readFileSync(join(text(field(shown[0], 'Source')), 'word'), 'utf8'), 'other\n')
    assert.equal(await seen('cat /x/word', { VolumesFrom: [id] }), 'other')
    const refused = await client.call('DELETE', '/images/other:1')
    assert.deepEqual([refused.status, messageOf(refused.body)], [409, `conflict: unable to remove repository reference "other:1" (must force) - container ${id.slice(0, 12)} is using its referenced image ${made.id.slice(7, 19)}`])
    await client.call('POST', `/containers/${id}/stop?t=0`)
    await imagesUnmounted()
    // Without a name and without its record its layers are there for who has them mounted.
    assert.equal((await client.call('DELETE', '/images/other:1?force=1')).status, 200)
    assert.equal((await client.call('POST', `/containers/${id}/start`)).status, 204)
    assert.equal(await client.exec(id, 'cat /x/word'), 'other\n')
    await client.remove(id)
    await imagesUnmounted()
    await client.call('POST', '/images/prune?filters={"dangling":["true"]}')
    assert.equal(await real.engine.images.resolve(made.id).then(() => 'there', messageOf), 'No such image: ' + made.id)
  })

  test('read-only covers the mounts below since 1.44, and the top one alone before or where asked for', async () => {
    const top = folder('top')
    mkdirSync(join(top, 'below'))
    await real.kernel.mounts.mount({ source: 'tmpfs', target: join(top, 'below'), type: 'tmpfs' })
    const touch = 'touch /x/a 2>/dev/null || echo top; touch /x/below/a 2>/dev/null || echo below'
    assert.equal(await seen(touch, { Binds: [`${top}:/x:ro`] }), 'top\nbelow')
    const mount = (options: object): object => ({ Mounts: [{ Type: 'bind', Source: top, Target: '/x', ReadOnly: true, BindOptions: options }] })
    assert.equal(await seen(touch, mount({ ReadOnlyForceRecursive: true })), 'top\nbelow')
    assert.equal(await seen(touch, mount({ ReadOnlyNonRecursive: true })), 'top')
    assert.equal((await client.at('1.43').run(touch, { Binds: [`${top}:/x:ro`] })).output.trim(), 'top')
    assert.equal(await seen('touch /x/below/b && ls /x/below; grep -c " /x/below " /proc/self/mounts; true', { Mounts: [{ Type: 'bind', Source: top, Target: '/x', BindOptions: { NonRecursive: true } }] }), 'b\n0')
    await real.kernel.mounts.unmount(join(top, 'below'))
  })

  test('a later mount of the host reaches a slave or shared bind, and a shared one’s reaches the host', async () => {
    const path = folder('spread')
    await real.kernel.mounts.mount({ source: path, target: path, flags: ['bind'] })
    assert.match((await client.run('true', { Binds: [`${path}:/x:rshared`] })).refusal, /is mounted on .* but it is not a shared mount/)
    await real.kernel.mounts.mount({ source: 'none', target: path, flags: ['rshared'] })
    mkdirSync(join(path, 'from-host'))
    mkdirSync(join(path, 'from-inside'))
    const id = await client.start('sleep 1000', { Binds: [`${path}:/x:rshared`, `${path}:/y:rslave`, `${path}:/z`], CapAdd: ['SYS_ADMIN'], SecurityOpt: ['seccomp=unconfined'] })
    await real.kernel.mounts.mount({ source: 'tmpfs', target: join(path, 'from-host'), type: 'tmpfs' })
    assert.equal(await client.exec(id, 'for p in x y z; do grep -c " /$p/from-host " /proc/self/mounts; done'), '1\n1\n0\n')
    await client.exec(id, 'mount -t tmpfs inside /x/from-inside')
    assert.equal((await real.kernel.mounts.table(join(path, 'from-inside'))).length, 1)
    await client.remove(id)
    for (const { target } of (await real.kernel.mounts.table(path)).toReversed()) await real.kernel.mounts.unmount(target, { lazy: true })
  })

  test('-v makes a missing source, --mount refuses it or makes it where asked to', async () => {
    assert.equal(await seen('ls -d /x', { Binds: [`${real.root}/made-by-v:/x`] }), '/x')
    const mount = (options: object): object => ({ Mounts: [{ Type: 'bind', Source: `${real.root}/missing`, Target: '/x', BindOptions: options }] })
    assert.match((await client.run('true', mount({}))).refusal, /^invalid mount config for type "bind": bind source path does not exist: /)
    assert.equal(await seen('ls -d /x', mount({ CreateMountpoint: true })), '/x')
  })

  test('the mode shown of a volume: none where a path alone was given, z for a named one, else what was written; a health check is shown as set', async () => {
    const id = await client.start('sleep 1000', { Binds: ['modes:/named', 'modes:/written:rw'] }, { Volumes: { '/alone': {} }, Healthcheck: { Test: ['CMD', 'true'], Interval: 60_000_000_000, StartPeriod: null, Retries: 0 } })
    const { body } = await client.call('GET', `/containers/${id}/json`)
    const mounts = field(body, 'Mounts')
    assert.ok(Array.isArray(mounts))
    assert.deepEqual(mounts.map((mount: unknown) => `${text(field(mount, 'Destination'))} ${text(field(mount, 'Mode'))}`).sort(), ['/alone ', '/named z', '/written rw'])
    assert.deepEqual(field(field(body, 'Config'), 'Healthcheck'), { Test: ['CMD', 'true'], Interval: 60_000_000_000 })
    await client.remove(id)
  })

  test('volumes of another container are shared, read-only where asked for', async () => {
    const id = await client.start('echo given > /data/word; sleep 1000', { Binds: ['given:/data'] })
    await client.exec(id, 'until test -s /data/word; do sleep 0.05; done')
    assert.equal(await seen('cat /data/word; touch /data/x && echo writable', { VolumesFrom: [id] }), 'given\nwritable')
    assert.match(await seen('cat /data/word; touch /data/y 2>&1', { VolumesFrom: [`${id}:ro`] }).catch(String), /given\ntouch: \/data\/y: Read-only file system/)
    await client.remove(id)
    assert.deepEqual((await client.run('true', { VolumesFrom: ['nobody'] })).created, { status: 400, body: { message: 'No such container: nobody' } })
    assert.equal((await client.run('true', { VolumesFrom: ['nobody:strange'] })).refusal, 'invalid mode: strange')
  })

  test('the local driver mounts tmpfs, binds and what else mount(2) takes; its failures are told', async () => {
    await makeVolume('mem', { type: 'tmpfs', device: 'tmpfs', o: 'size=1m,uid=1000' })
    assert.match(await seen('grep " /x " /proc/self/mounts; stat -c %u /x', { Binds: ['mem:/x'] }), /^tmpfs \/x tmpfs .*size=1024k,uid=1000.*\n1000$/)
    const path = folder('bound')
    writeFileSync(join(path, 'word'), 'bound\n')
    await makeVolume('bnd', { type: 'none', device: path, o: 'bind' })
    assert.equal(await seen('cat /x/word; echo changed > /x/word', { Binds: ['bnd:/x'] }), 'bound')
    await client.call('DELETE', '/volumes/bnd')
    assert.equal(readFileSync(join(path, 'word'), 'utf8'), 'changed\n')
    await makeVolume('bad', { type: 'nosuchfs', device: '/dev/null' })
    assert.match((await client.run('true', { Binds: ['bad:/x'] })).refusal, /error while mounting volume '.*\/bad\/_data': failed to mount local volume: mount \/dev\/null:.*\/bad\/_data: no such device/)
    await makeVolume('nfs', { type: 'nfs', device: ':/export', o: 'addr=nosuch.invalid,rw' })
    assert.match((await client.run('true', { Binds: ['nfs:/x'] })).refusal, /error resolving passed in network volume address: lookup nosuch.invalid/)
  })

  test('volume options that mean nothing are refused', async () => {
    const refusal = async (body: object): Promise<string> => messageOf((await client.call('POST', '/volumes/create', body)).body)
    assert.match(await refusal({ Name: 'oo', DriverOpts: { colour: 'red' } }), /invalid option: "colour"/)
    assert.match(await refusal({ Name: 'oo', DriverOpts: { o: 'bind' } }), /missing required option: "device"/)
    assert.match(await refusal({ Name: 'oo', DriverOpts: { type: 'tmpfs' } }), /missing required option: "device"/)
    assert.match(await refusal({ Name: 'oo', DriverOpts: { size: '1G' } }), /quota size requested but no quota support/)
    assert.match(await refusal({ Name: 'oo', Driver: 'strange' }), /create oo: error looking up volume plugin strange: plugin "strange" not found/)
    assert.equal((await client.call('PUT', '/volumes/mem', {})).status, 503)
  })

  test('a prune takes anonymous volumes, and named ones only where all are meant', async () => {
    const names = async (): Promise<string[]> => {
      const volumes: unknown = field((await client.call('GET', '/volumes')).body, 'Volumes')
      return Array.isArray(volumes) ? volumes.map((one) => text(field(one, 'Name'))) : []
    }
    const prune = async (filters: object = {}, api = client): Promise<unknown> => field((await api.call('POST', `/volumes/prune?filters=${encodeURIComponent(JSON.stringify(filters))}`)).body, 'VolumesDeleted')
    await makeVolume('kept')
    const { body } = await client.call('POST', '/volumes/create', {})
    const anonymous = text(field(body, 'Name'))
    assert.deepEqual(field(body, 'Labels'), { 'com.docker.volume.anonymous': '' })
    assert.deepEqual(await prune(), [anonymous])
    assert.ok((await names()).includes('kept'))
    await prune({ all: ['true'] })
    assert.deepEqual(await names(), [])
    await makeVolume('kept')
    assert.deepEqual(await prune({}, client.at('1.41')), ['kept'])
  })
})
