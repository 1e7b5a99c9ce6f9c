/** Remapped user namespaces, seen from inside the container and from the disk: who is who, what may be done, and what others find afterwards. */
import assert from 'node:assert/strict'
import { chmodSync, chownSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { once } from 'node:events'
import { after, before, suite, test } from 'node:test'
import { systemClock } from '#base/clock.ts'
import { isFault } from '#base/fault.ts'
import { silentLogger } from '#base/log.ts'
import { systemRandom } from '#base/random.ts'
import { openKernel } from '#linux/real/kernel.ts'
import { openFileBlobs } from '#oci/blobs/file-system.ts'
import { sampleTar } from '#oci/layer/archive-samples.ts'
import { openEngine, type Engine, type EngineOptions } from '../open.ts'
import { busyboxMissing, busyboxRoot, field, messageOf, openRealEngine, text, type ApiClient, type RealEngine } from '../real-engine.fixture.ts'

/** Users and groups apart, so that one taken for the other is seen. */
const usernsMapping = { uids: [{ containerId: 0, hostId: 300_000, size: 65_536 }], gids: [{ containerId: 0, hostId: 400_000, size: 65_536 }] }
const mapped = '0 300000 65536'

/** Why this kernel remaps nobody, where an engine did not open for that; any other failure is one. */
function whyUnmapped(error: unknown): string {
  if (isFault(error, 'unavailable') && error.message.startsWith('userns-remap: this kernel')) return error.message
  throw error
}

suite('user namespaces', { skip: busyboxMissing }, () => {
  let real: RealEngine
  let client: ApiClient
  let cannot: string | undefined
  before(async () => {
    const kernel = await openKernel()
    try {
      real = await openRealEngine(kernel, { name: 'luns', subnet: '172.29.120.0/22', usernsMapping })
      client = real.client
    } catch (error) {
      cannot = whyUnmapped(error)
      await kernel[Symbol.asyncDispose]()
    }
  })
  after(() => real?.[Symbol.asyncDispose]())

  const seen = async (script: string, host: object = {}, config: object = {}): Promise<string> => (await client.seen(script, host, config)).replaceAll(/ +/g, ' ')
  const upperOf = async (id: string): Promise<string> => text(field(field(field((await client.call('GET', `/containers/${id}/json`)).body, 'GraphDriver'), 'Data'), 'UpperDir'))
  const ownerOf = (path: string): string => `${lstatSync(path).uid}:${lstatSync(path).gid}`
  const proven = (name: string, task: () => Promise<void>): void => void test(name, async (context) => (cannot === undefined ? task() : context.skip(cannot)))

  proven('root inside is nobody of the machine; the image, files that it makes, and set-id programs are its own', async () => {
    assert.equal(await seen('cat /proc/self/uid_map; id -u; stat -c %u:%g /bin /etc/passwd'), `${mapped}\n0\n0:0\n0:0`)
    const id = await client.start('echo x > /made && mkdir -p /dir/deep && chown 1000:50 /made && chown 9:10 /data/deep/file && for name in no set; do mkdir /$name; cp /bin/busybox /$name/ping; done; chmod 6755 /set/ping && rm /data/from-image && sleep 1000', { Sysctls: { 'net.ipv4.ping_group_range': '1 0' } })
    try {
      const pid = Number(field(field((await client.call('GET', `/containers/${id}/json`)).body, 'State'), 'Pid'))
      while (!(await client.exec(id, 'test -e /data/from-image || echo gone')).includes('gone'));
      assert.equal(ownerOf(`/proc/${pid}`), '300000:400000')
      assert.equal(await client.exec(id, "stat -c '%u:%g %a' /made /set/ping; for name in no set; do su bob -s /bin/sh -c \"/$name/ping -c1 127.0.0.1 >/dev/null 2>&1 && echo $name\"; done"), '1000:50 644\n0:0 6755\nset\n')
      const upper = await upperOf(id)
      assert.deepEqual(['made', 'set/ping', 'dir/deep', 'data/deep', 'data/deep/file'].map((name) => ownerOf(join(upper, name))), ['1000:50', '0:0', '0:0', '0:0', '9:10'])
      assert.equal(readFileSync(join(upper, 'data/deep/file'), 'utf8'), 'deep\n')
      assert.ok(lstatSync(join(upper, 'data/from-image')).isCharacterDevice())
    } finally {
      await client.remove(id)
    }
  })

  proven("the machine's own is out of reach, and another container's as well", async () => {
    const folder = mkdtempSync(join(real.root, 'host-'))
    chmodSync(folder, 0o755)
    mkdirSync(join(folder, 'open'))
    writeFileSync(join(folder, 'secret'), 'of the machine', { mode: 0o600 })
    writeFileSync(join(folder, 'lent'), 'lent', { mode: 0o600 })
    chownSync(join(folder, 'lent'), 300_000, 400_000)
    assert.equal(
      await seen('stat -c %u:%g /h/secret /h/lent; cat /h/secret 2>&1; cat /h/lent; chown 0:0 /h/secret 2>&1; touch /h/x 2>&1; mknod /n b 8 0 2>&1; dmesg -c 2>&1; true', { Binds: [`${folder}:/h`], CapAdd: ['SYS_ADMIN', 'SYS_PTRACE', 'SYSLOG'] }),
      "65534:65534\n0:0\ncat: can't open '/h/secret': Permission denied\nlentchown: /h/secret: Operation not permitted\ntouch: /h/x: Permission denied\nmknod: /n: Operation not permitted\ndmesg: klogctl: Operation not permitted",
    )
  })

  proven('its network is its own: interfaces with NET_ADMIN, ping, a published port, a name server', async () => {
    assert.equal(await seen('ip link add inner type bridge && ip link set inner up && ip -o link show inner | cut -d: -f2; ping -c1 -W5 127.0.0.1 >/dev/null && echo pong; ls /sys/class/net | tr "\\n" " "', { CapAdd: ['NET_ADMIN'] }), 'inner\npong\neth0 inner lo')
    await client.call('POST', '/networks/create', { Name: 'lunsnet' })
    const id = await client.start('mkdir /w; echo hello > /w/f; httpd -f -p 80 -h /w', { PortBindings: { '80/tcp': [{ HostIp: '127.0.0.1', HostPort: '' }] }, NetworkMode: 'lunsnet', Sysctls: { 'net.ipv4.ip_unprivileged_port_start': '0' } }, { ExposedPorts: { '80/tcp': {} }, Hostname: 'web' })
    try {
      assert.equal(await seen(`until wget -qO- http://web/f; do sleep 0.1; done; wget -qO- http://${id.slice(0, 12)}/f`, { NetworkMode: 'lunsnet' }), 'hello\nhello')
      const ports = field(field(field((await client.call('GET', `/containers/${id}/json`)).body, 'NetworkSettings'), 'Ports'), '80/tcp')
      const socket = createConnection({ host: '127.0.0.1', port: Number(field(Array.isArray(ports) ? ports[0] : undefined, 'HostPort')) })
      await once(socket, 'connect')
      socket.destroy()
      assert.equal(await seen('cat /proc/self/uid_map; wget -qO- http://127.0.0.1/f', { NetworkMode: `container:${id}`, PidMode: `container:${id}` }), `0 300000 65536\nhello`)
    } finally {
      await client.remove(id)
      await client.call('DELETE', '/networks/lunsnet')
    }
  })

  proven('mounts of the container are its own: hosts files, /dev/shm, tmpfs, terminals, init, streams', async () => {
    assert.equal(await seen('stat -c %u:%g /etc/hosts /etc/hostname /etc/resolv.conf /dev/shm; echo 1.2.3.4 x >> /etc/hosts && echo written; touch /dev/shm/a /t/b && stat -c %u:%g /dev/shm/a /t/b; echo out > /dev/stdout; cat /dev/null; test -d /dev/mqueue && echo mqueue', { IpcMode: 'shareable', Tmpfs: { '/t': 'mode=1777' }, Init: true }), '0:0\n0:0\n0:0\n0:0\nwritten\n0:0\n0:0\nout\nmqueue')
    const id = await client.start('sleep 1000', { ReadonlyRootfs: true, Tmpfs: { '/run': '' } }, { Tty: true, Healthcheck: { Test: ['CMD-SHELL', 'test "$(id -u)" = 0 && echo fit'], Interval: 100_000_000 }, User: 'bob', WorkingDir: '/tmp' })
    try {
      assert.equal(await client.exec(id, 'echo to > /dev/stdout; id -u; touch /x 2>&1'), 'to\n1000\ntouch: /x: Read-only file system\n')
    } finally {
      await client.remove(id)
    }
  })

  proven('a volume is the same for all: filled from the image, written by a remapped root, on the disk of root', async () => {
    const mounts = { Binds: ['lunsvol:/data'] }
    assert.equal(await seen('stat -c %u:%g /data /data/from-image; echo 1 > /data/own; echo 2 > /data/bob; chown bob:staff /data/bob', mounts), '0:0\n0:0')
    const volume = text(field((await client.call('GET', '/volumes/lunsvol')).body, 'Mountpoint'))
    assert.deepEqual(['from-image', 'own', 'bob'].map((name) => ownerOf(join(volume, name))), ['0:0', '0:0', '1000:50'])
    assert.equal(await seen('cat /proc/self/uid_map | tr -s " "; stat -c %u:%g /data/own /data/bob; echo 3 >> /data/own', { ...mounts, UsernsMode: 'host' }), '0 0 4294967295\n0:0\n1000:50')
    assert.equal(await seen('cat /part', { Mounts: [{ Type: 'volume', Source: 'lunsvol', Target: '/part', VolumeOptions: { Subpath: 'own' } }] }), '1\n3')
    assert.equal((await client.call('DELETE', '/volumes/lunsvol')).status, 204)
  })

  proven('what is committed, exported and copied has the ids inside, and the image runs anywhere', async () => {
    const id = await client.start('mkdir -p /w/bob && echo x > /w/bob/f && chown -R 1000:50 /w/bob && echo r > /w/r; sleep 1000')
    try {
      while (!(await client.exec(id, 'test -e /w/r && echo there')).includes('there'));
      const tar = await client.bytes('GET', `/containers/${id}/archive?path=/w`)
      assert.deepEqual(headersOf(tar.bytes), ['w/ 0:0', 'w/bob/ 1000:50', 'w/bob/f 1000:50', 'w/r 0:0'])
      assert.ok(headersOf((await client.bytes('GET', `/containers/${id}/export`)).bytes).includes('w/bob/f 1000:50'))
      const put = await client.bytes('PUT', `/containers/${id}/archive?path=/w`, sampleTar([{ path: 'new/deep/file', content: 'n', uid: 33, gid: 44 }, { path: 'top', content: 't' }]))
      assert.equal(put.status, 200)
      assert.equal(await client.exec(id, 'stat -c %u:%g /w/new /w/new/deep/file /w/top'), '0:0\n33:44\n0:0\n')
      const upper = await upperOf(id)
      assert.deepEqual(['w/new', 'w/new/deep/file', 'w/top', 'w/bob/f'].map((name) => ownerOf(join(upper, name))), ['0:0', '33:44', '0:0', '1000:50'])
      const refused = await client.bytes('PUT', `/containers/${id}/archive?path=/w`, sampleTar([{ path: 'far', content: '', uid: 70_000 }]))
      assert.deepEqual([refused.status, /Container ID 70000 cannot be mapped to a host ID/.test(refused.bytes.toString())], [400, true])
      const changes = (await client.call('GET', `/containers/${id}/changes`)).body
      assert.ok(Array.isArray(changes) && changes.some((change) => field(change, 'Path') === '/w/new/deep/file'))
      assert.equal((await client.call('POST', `/commit?container=${id}&repo=luns&tag=1`)).status, 201)
    } finally {
      await client.call('POST', `/containers/${id}/stop?t=0`)
      assert.deepEqual(headersOf((await client.bytes('GET', `/containers/${id}/archive?path=/w/bob`)).bytes), ['bob/ 1000:50', 'bob/f 1000:50'])
      assert.equal((await client.call('POST', `/containers/${id}/start`)).status, 204)
      assert.equal(await client.exec(id, 'stat -c %u:%g /w/bob/f'), '1000:50\n')
      await client.remove(id)
    }
    for (const host of [{}, { UsernsMode: 'host' }]) assert.equal(await seen('stat -c %u:%g /w/r /w/bob/f /w/new/deep/file', host, { Image: 'luns:1' }), '0:0\n1000:50\n33:44')
    assert.equal((await client.call('DELETE', '/images/luns:1?force=1')).status, 200)
  })

  proven('capabilities of files hold, copied in or committed, remapped or not', async () => {
    // capabilities(7): revision 2, effective, permitted CAP_NET_RAW.
    const capability = Buffer.alloc(20)
    capability.writeUInt32LE(0x02000001, 0)
    capability.writeUInt32LE(1 << 13, 4)
    const copied = (folder: string): Buffer => sampleTar([{ path: folder, type: 'directory' }, { path: `${folder}/ping`, content: readFileSync('/bin/busybox'), mode: 0o755, xattrs: { 'security.capability': capability } }])
    const host = { Sysctls: { 'net.ipv4.ping_group_range': '1 0' } }
    const works = (folder: string): string => `su bob -s /bin/sh -c '/${folder}/ping -c1 127.0.0.1 >/dev/null 2>&1 && echo ${folder} works || echo ${folder} fails'`
    const id = await client.start(`until test -e /go; do sleep 0.02; done; sleep 1000`, host)
    try {
      assert.equal((await client.bytes('PUT', `/containers/${id}/archive?path=/`, copied('live'))).status, 200)
      assert.equal(await client.exec(id, `${works('live')}; mkdir /plain && cp /live/ping /plain && ${works('plain')}`), 'live works\nplain fails\n')
      await client.call('POST', `/containers/${id}/stop?t=0`)
      assert.equal((await client.bytes('PUT', `/containers/${id}/archive?path=/`, copied('still'))).status, 200)
      assert.equal((await client.call('POST', `/commit?container=${id}&repo=luns&tag=3`)).status, 201)
      for (const mode of [{}, { UsernsMode: 'host' }]) assert.equal(await seen(`${works('live')}; ${works('still')}; ${works('plain')}`, { ...host, ...mode }, { Image: 'luns:3' }), 'live works\nstill works\nplain fails')
      const read = await client.bytes('GET', `/containers/${id}/archive?path=/live/ping`)
      assert.ok(read.bytes.includes(capability))
    } finally {
      await client.remove(id)
      await client.call('DELETE', '/images/luns:3?force=1')
    }
  })

  proven('a build runs its commands remapped, and its image has the ids inside', async () => {
    const dockerfile = ['FROM bb:1', 'WORKDIR /deep/er', 'COPY --chown=5:6 f .', 'RUN cat /proc/self/uid_map && chown 1000:50 f && echo x > g && mkdir m', 'RUN --mount=type=cache,target=/c --mount=type=bind,from=bb:1,target=/b --mount=type=bind,source=f,target=/s stat -c %u:%g f g /b/etc/passwd /s /c && touch /c/x'].join('\n')
    const built = await client.bytes('POST', '/build?t=luns:2&rm=1', sampleTar([{ path: 'Dockerfile', content: dockerfile }, { path: 'f', content: 'f' }]))
    const output = built.bytes.toString()
    assert.match(output, /0 {5}300000 {6}65536|0 +300000 +65536/)
    assert.match(output, /1000:50\\n0:0\\n0:0\\n0:0\\n0:0/, output)
    assert.equal(await seen('stat -c %u:%g /deep /deep/er /deep/er/f /deep/er/g /deep/er/m', { UsernsMode: 'host' }, { Image: 'luns:2' }), '0:0\n0:0\n1000:50\n0:0\n0:0')
    const refused = await client.bytes('POST', '/build?networkmode=host', sampleTar([{ path: 'Dockerfile', content: 'FROM bb:1\nRUN true #1' }]))
    assert.match(refused.bytes.toString(), /cannot share the host's network namespace when user namespaces are enabled/)
    assert.equal((await client.call('DELETE', '/images/luns:2?force=1')).status, 200)
  })

  proven('an image as a mount is shown with the ids inside', async () => {
    assert.equal(await seen('stat -c %u:%g /i/etc/passwd', { Mounts: [{ Type: 'image', Source: 'bb:1', Target: '/i' }] }), '0:0')
  })

  proven("what belongs to the machine is refused in moby's words, unless the machine's user namespace is asked for", async () => {
    const cases: readonly (readonly [object, string])[] = [
      [{ Privileged: true }, 'privileged mode is incompatible with user namespaces.  You must run the container in the host namespace when running privileged mode'],
      [{ NetworkMode: 'host' }, "cannot share the host's network namespace when user namespaces are enabled"],
      [{ PidMode: 'host' }, 'cannot share the host PID namespace when user namespaces are enabled'],
    ]
    for (const [host, words] of cases) {
      const refused = await client.run('true', host)
      assert.deepEqual([refused.created.status, messageOf(refused.created.body)], [400, words])
      assert.equal(await seen('id -u', { ...host, UsernsMode: 'host' }), '0')
    }
    const own = await client.start('sleep 1000', { UsernsMode: 'host' })
    try {
      assert.match((await client.run('true', { NetworkMode: `container:${own}` })).refusal, /runs in the host's user namespace: its namespaces can be shared with --userns=host only/)
    } finally {
      await client.remove(own)
    }
    assert.deepEqual(field((await client.call('GET', '/info')).body, 'SecurityOptions'), ['name=seccomp,profile=default', 'name=userns'])
  })

  proven('two at a time keep out of each other, and nothing is left of them', async () => {
    const outputs = await Promise.all([1, 2, 3].map((number) => seen(`echo ${number} > /own; sleep 0.2; cat /own; ls /proc | grep -c '^[0-9]'`)))
    assert.deepEqual(outputs.map((output) => output.split('\n')[0]), ['1', '2', '3'])
    const left = async (): Promise<string[]> => (await real.kernel.mounts.table(join(real.root, 'r'))).map(({ target }) => target.slice(real.root.length)).filter((target) => !/^\/r\/(shifted|userns)\//.test(target))
    // A removal is told before the kernel has let go of everything.
    for (let looked = 0; (await left()).length > 0 && looked < 500; looked += 1) await client.call('GET', '/_ping')
    assert.deepEqual(await left(), [])
  })
})

suite('user namespaces and a restart of the engine', { skip: busyboxMissing }, () => {
  test('a container keeps its mapping until it is started anew, whatever the next engine was told', async (context) => {
    await using kernel = await openKernel()
    const root = mkdtempSync(join(process.env['BERTH_TEST_ROOT'] ?? tmpdir(), 'lunr-'))
    for (const folder of [dirname(root), root]) chmodSync(folder, statSync(folder).mode | 0o111)
    const [cgroup, bridge] = [`berth-lunr-${process.pid}`, 'blunr0']
    const open = async (options: Pick<EngineOptions, 'usernsMapping'>): Promise<Engine> =>
      openEngine({
        kernel, blobs: await openFileBlobs(join(root, 'blobs')), paths: { state: join(root, 's'), run: join(root, 'r') }, names: { cgroup, table: 'berth_lunr', bridge },
        networks: { bridgeSubnet: '172.29.124.0/22' }, clock: systemClock, random: systemRandom, log: silentLogger, ...options,
      })
    const output = async ({ containers }: Engine, command: string): Promise<string> => {
      const { session, exited } = await containers.startExec((await containers.createExec('kept', { command: ['sh', '-c', command] })).execId)
      let said = ''
      for await (const { data } of session?.output ?? []) said += data.toString()
      await exited
      return said.trim().replaceAll(/ +/g, ' ')
    }
    const exported = async ({ containers }: Engine): Promise<string[]> => headersOf(Buffer.concat(await Array.fromAsync(await containers.exportRoot('kept')))).filter((line) => line.startsWith('own'))
    try {
      const first = await open({ usernsMapping }).catch(whyUnmapped)
      if (typeof first === 'string') return context.skip(first)
      let engine = first
      await engine.images.importRoot(Readable.from([await busyboxRoot(kernel)]), { name: 'bb:1' })
      await engine.containers.create({ namespace: 'docker', name: 'kept', image: 'bb:1', process: { command: ['sh', '-c', 'echo x > /own; chown 5:6 /own; sleep 1000'] }, mounts: [{ type: 'volume', name: 'kept', target: '/v' }] })
      await engine.containers.start('kept')
      while ((await output(engine, 'stat -c %u:%g /own')) !== '5:6');
      await engine[Symbol.asyncDispose]()
      engine = await open({})
      assert.equal(await output(engine, 'cat /proc/self/uid_map; touch /v/x; stat -c %u:%g /own /v/x'), `${mapped}\n5:6\n0:0`)
      assert.deepEqual(await exported(engine), ['own 5:6'])
      await engine.containers.restart('kept', { graceSeconds: 0 })
      assert.equal(await output(engine, 'cat /proc/self/uid_map; stat -c %u:%g /own /v/x'), '0 0 4294967295\n5:6\n0:0')
      await engine[Symbol.asyncDispose]()
      engine = await open({ usernsMapping: { uids: [{ containerId: 0, hostId: 600_000, size: 1000 }], gids: [{ containerId: 0, hostId: 700_000, size: 1000 }] } })
      assert.deepEqual(await exported(engine), ['own 5:6'])
      await engine.containers.restart('kept', { graceSeconds: 0 })
      assert.equal(await output(engine, 'cat /proc/self/uid_map; stat -c %u:%g /own /v/x'), '0 600000 1000\n5:6\n0:0')
      await engine.containers.remove('kept', { force: true, volumes: true })
      await engine.volumes.remove('kept')
      await engine[Symbol.asyncDispose]()
      assert.deepEqual((await kernel.mounts.table(root)).map(({ target }) => target.slice(root.length)), [])
    } finally {
      await kernel.links.deleteLink(bridge)
      await kernel.nftables.apply('add table ip berth_lunr\ndelete table ip berth_lunr')
      await kernel.cgroups.remove(cgroup)
      rmSync(root, { recursive: true })
    }
  })
})

/** `NAME UID:GID` of each entry of a plain tar. */
function headersOf(tar: Buffer): string[] {
  const found: string[] = []
  for (let at = 0; at + 512 <= tar.length && tar[at] !== 0; ) {
    const octal = (from: number, length: number): number => Number.parseInt(tar.toString('latin1', at + from, at + from + length).replace(/[\0 ].*$/s, '') || '0', 8)
    const name = tar.toString('utf8', at, at + 100).replace(/\0.*$/s, '')
    if (tar[at + 156] !== 0x78) found.push(`${name} ${octal(108, 8)}:${octal(116, 8)}`)
    at += 512 + Math.ceil(octal(124, 12) / 512) * 512
  }
  return found
}
