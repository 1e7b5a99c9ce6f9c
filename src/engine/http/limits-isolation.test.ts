/** Isolation, each part seen from inside the container: capabilities, filters, namespaces, devices, sysctls, accounts, what can be written. */
import assert from 'node:assert/strict'
import { readFileSync, readlinkSync } from 'node:fs'
import { after, before, suite, test } from 'node:test'
import { openKernel } from '#linux/real/kernel.ts'
import { busyboxMissing, field, openRealEngine, text, type ApiClient, type RealEngine } from '../real-engine.fixture.ts'

suite('isolation', { skip: busyboxMissing }, () => {
  let real: RealEngine
  let client: ApiClient
  before(async () => {
    real = await openRealEngine(await openKernel(), { name: 'liso', subnet: '172.29.100.0/22' })
    client = real.client
  })
  after(() => real[Symbol.asyncDispose]())

  const seen = (script: string, host: object = {}, config: object = {}): Promise<string> => client.seen(script, host, config)
  const status = async (name: string, host: object, config: object = {}): Promise<string> => (await seen(`grep '^${name}:' /proc/self/status`, host, config)).split(/\s+/)[1] ?? ''

  test('capabilities are the default ones, fewer, more, or none for another user', async () => {
    const unavailable = (mask: bigint): string => {
      let left = mask
      for (const name of real.engine.host.unavailableCapabilities) if (name === 'CAP_NET_ADMIN') left &= ~(1n << 12n)
      return left.toString(16).padStart(16, '0')
    }
    assert.equal(await status('CapEff', {}), '00000000a80425fb')
    assert.equal(await status('CapEff', { CapDrop: ['ALL'] }), '0000000000000000')
    assert.equal(await status('CapEff', { CapDrop: ['ALL'], CapAdd: ['CHOWN'] }), '0000000000000001')
    assert.equal(await status('CapEff', { CapAdd: ['NET_ADMIN'] }), unavailable(0xa80435fbn))
    assert.equal(await status('CapEff', {}, { User: 'bob' }), '0000000000000000')
    assert.equal(await status('CapBnd', {}, { User: 'bob' }), '00000000a80425fb')
  })

  test('system calls are filtered by the default, by a profile, or not', async () => {
    assert.equal(await status('Seccomp', {}), '2')
    assert.equal(await status('Seccomp', { SecurityOpt: ['seccomp=unconfined'] }), '0')
    assert.match(await seen('unshare -m true 2>&1; true'), /Operation not permitted/)
    const profile = {
      defaultAction: 'SCMP_ACT_ALLOW', archMap: [{ architecture: 'SCMP_ARCH_X86_64', subArchitectures: ['SCMP_ARCH_X86'] }, { architecture: 'SCMP_ARCH_AARCH64', subArchitectures: ['SCMP_ARCH_ARM'] }],
      syscalls: [
        { names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', excludes: { caps: ['CAP_SYS_ADMIN'] } },
        { names: ['rmdir', 'unlinkat'], action: 'SCMP_ACT_ERRNO', includes: { caps: ['CAP_SYS_ADMIN'] } },
        { names: ['symlink', 'symlinkat'], action: 'SCMP_ACT_ERRNO', includes: { minKernel: '99.0' } },
        { names: ['link', 'linkat'], action: 'SCMP_ACT_ERRNO', errnoRet: 5, includes: { minKernel: '3.0' } },
      ],
    }
    assert.equal(
      await seen('mkdir /tmp/x 2>/dev/null || echo no mkdir; rmdir /root && echo rmdir; ln -s a /tmp/l && echo symlink; ln /etc/passwd /tmp/p 2>&1 | grep -o "Input/output error"', { SecurityOpt: [`seccomp=${JSON.stringify(profile)}`] }),
      'no mkdir\nrmdir\nsymlink\nInput/output error',
    )
  })

  test('no-new-privileges is set where asked for', async () => {
    assert.equal(await status('NoNewPrivs', {}), '0')
    assert.equal(await status('NoNewPrivs', { SecurityOpt: ['no-new-privileges'] }), '1')
    assert.equal(await status('NoNewPrivs', { SecurityOpt: ['no-new-privileges=false'] }), '0')
  })

  test('parts of /proc and /sys are hidden or read-only, unless told otherwise', async () => {
    const names = 'grep -cE " /proc/(kcore|keys|timer_list|sys|bus|irq) " /proc/self/mounts'
    assert.ok(Number(await seen(names)) >= 5)
    assert.equal(await seen(`${names}; true`, { MaskedPaths: [], ReadonlyPaths: [] }), '0')
    assert.match(await seen('echo 1 > /proc/sys/kernel/panic 2>&1; true'), /Read-only|nonexistent|denied/)
    assert.equal(await seen('grep -cE " /proc/(scsi|acpi) " /proc/self/mounts; true', { MaskedPaths: ['/proc/version'], ReadonlyPaths: [] }), '0')
    assert.equal(await seen('cat /proc/version', { MaskedPaths: ['/proc/version'], ReadonlyPaths: [] }), '')
  })

  test('a read-only root keeps its memory file systems writable', async () => {
    assert.match(await seen('touch /x 2>&1; touch /dev/shm/x && echo shm; touch /t/x && echo tmpfs', { ReadonlyRootfs: true, Tmpfs: { '/t': '' } }), /Read-only file system\nshm\ntmpfs/)
  })

  test('users, groups and added groups are those of the image', async () => {
    assert.equal(await seen('id', { GroupAdd: ['extra', '4242'] }, { User: 'bob' }), 'uid=1000(bob) gid=1000(bob) groups=50(staff),77(extra),1000(bob),4242')
    assert.match(await seen('id', {}, { User: '1234:5678' }), /^uid=1234 gid=5678/)
  })

  test('an init is pid 1 where asked for, and reaps', async () => {
    assert.equal(await seen('cat /proc/1/comm; true', {}), 'sh')
    assert.equal(await seen('cat /proc/1/comm; sh -c "true & exec true"; while grep -qs "State:.Z" /proc/[0-9]*/status; do sleep 0.05; done; echo reaped', { Init: true }), 'docker-init\nreaped')
  })

  test('devices: the usual ones, one that was asked for, a folder of them, and rules', async () => {
    const usual = await seen('ls /dev | tr "\\n" " "')
    for (const name of ['null', 'zero', 'full', 'random', 'urandom', 'tty', 'ptmx', 'pts', 'shm', 'mqueue']) assert.ok(usual.split(' ').includes(name), name)
    assert.match(await seen('ls -l /dev/mine; dd if=/dev/mine of=/dev/null bs=1 count=1 2>&1 | grep -o "1+0 records in"', { Devices: [{ PathOnHost: '/dev/zero', PathInContainer: '/dev/mine', CgroupPermissions: 'r' }] }), /1,   5 .*\/dev\/mine\n1\+0 records in/)
    assert.match(await seen('mknod /tmp/n c 1 11 && cat /tmp/n 2>&1; true'), /Operation not permitted/)
    assert.doesNotMatch(await seen('mknod /tmp/n c 10 200 && echo > /tmp/n 2>&1; true', { DeviceCgroupRules: ['c 10:200 rwm'] }), /Operation not permitted/)
    const gpu = await client.run('true', { DeviceRequests: [{ Driver: '', Count: -1, Capabilities: [['gpu']] }] })
    assert.equal(gpu.created.status, 201)
    assert.equal(gpu.refusal, 'could not select device driver "" with capabilities: [[gpu]]')
  })

  test('sysctls of its own namespaces are set; those of the host are refused', async () => {
    assert.equal(await seen('cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmax', { Sysctls: { 'net.ipv4.ip_forward': '1', 'kernel.shmmax': '123456' } }), '1\n123456')
    assert.equal(await seen('cat /proc/sys/net/ipv4/ip_unprivileged_port_start'), '0')
    assert.equal(await seen('cat /proc/sys/kernel/domainname', {}, { Domainname: 'example.test' }), 'example.test')
    assert.match((await client.run('true', { Sysctls: { 'kernel.panic': '1' } })).refusal, /OCI runtime create failed: .*sysctl "kernel.panic" is not in a separate kernel namespace/)
    assert.match((await client.run('true', { NetworkMode: 'host', Sysctls: { 'net.ipv4.ip_forward': '1' } })).refusal, /sysctl "net.ipv4.ip_forward" not allowed in host network namespace/)
  })

  test('/dev/shm has its size, is absent, is the donor’s, or is not to be shared', async () => {
    assert.equal(await seen('df -k /dev/shm | tail -1 | tr -s " " | cut -d" " -f2', { ShmSize: 8 << 20 }), '8192')
    assert.equal(await seen('ls -d /dev/shm 2>/dev/null; grep -c " /dev/shm " /proc/self/mounts; true', { IpcMode: 'none' }), '0')
    const donor = await client.start('echo shared > /dev/shm/word; sleep 1000', { IpcMode: 'shareable', ShmSize: 4 << 20 })
    await client.exec(donor, 'until test -s /dev/shm/word; do sleep 0.05; done')
    assert.equal(await seen('cat /dev/shm/word; readlink /proc/self/ns/ipc', { IpcMode: `container:${donor}` }), `shared\n${(await client.exec(donor, 'readlink /proc/self/ns/ipc')).trim()}`)
    await client.remove(donor)
    const closed = await client.start('sleep 1000')
    assert.match((await client.run('true', { IpcMode: `container:${closed}` })).refusal, /non-shareable IPC \(hint: use IpcMode:shareable for the donor container\)/)
    await client.remove(closed)
    assert.equal((await client.run('true', { IpcMode: 'container:nobody' })).created.status, 400)
    assert.equal(await seen('readlink /proc/self/ns/ipc; ls -d /dev/shm', { IpcMode: 'host' }).then((output) => output.split('\n')[1]), '/dev/shm')
  })

  test('pid, uts and cgroup namespaces are private, shared or the host’s', async () => {
    const donor = await client.start('sleep 1000', {}, { Hostname: 'donor' })
    assert.equal(await seen('readlink /proc/self/ns/pid', { PidMode: `container:${donor}` }), (await client.exec(donor, 'readlink /proc/self/ns/pid')).trim())
    await client.remove(donor)
    assert.notEqual(await seen('echo $$', { PidMode: 'host' }), '1')
    assert.equal(await seen('readlink /proc/self/ns/uts', { UTSMode: 'host' }), readlinkSync('/proc/self/ns/uts'))
    assert.equal(await seen('grep -E "memory|^0:" /proc/self/cgroup | cut -d: -f3 | sort -u', { CgroupnsMode: 'private' }), '/')
    assert.match(await seen('grep -E "memory|^0::/berth" /proc/self/cgroup', { CgroupnsMode: 'host' }), new RegExp(`/${real.cgroup}/docker/[0-9a-f]{64}`))
  })

  test('tmpfs takes the options of mount, and no others', async () => {
    assert.match(await seen('grep " /t " /proc/self/mounts', { Tmpfs: { '/t': 'size=1m,mode=700,uid=1000' } }), /nosuid,nodev,noexec.*size=1024k,mode=700,uid=1000/)
    assert.doesNotMatch(await seen('grep " /t " /proc/self/mounts', { Tmpfs: { '/t': 'exec' } }), /noexec/)
    assert.match((await client.run('true', { Tmpfs: { '/t': 'colour=red' } })).refusal, /invalid tmpfs option "colour"/)
    assert.doesNotMatch(await seen('grep " /t " /proc/self/mounts', { Mounts: [{ Type: 'tmpfs', Target: '/t', TmpfsOptions: { Options: [['exec']] } }] }), /noexec/)
  })

  test('privileged sees the host’s devices, writes to /sys and has every capability there is', async () => {
    assert.equal(await status('CapEff', { Privileged: true }), /^CapBnd:\s*(\S+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1])
    assert.match(await seen('grep -cE " /proc/" /proc/self/mounts; grep " /sys " /proc/self/mounts | cut -d" " -f4 | cut -d, -f1; grep ^Seccomp: /proc/self/status', { Privileged: true }), /^0\nrw\nSeccomp:\t0$/)
  })

  test('annotations reach the runtime and the inspect', async () => {
    const { body } = await client.call('POST', '/containers/create', { Image: 'bb:1', Cmd: ['true'], HostConfig: { Annotations: { 'com.example.x': 'y' } } })
    const id = text(field(body, 'Id'))
    const host = field((await client.call('GET', `/containers/${id}/json`)).body, 'HostConfig')
    assert.deepEqual(field(host, 'Annotations'), { 'com.example.x': 'y' })
    await client.remove(id)
    assert.equal((await client.run('true', { Annotations: { '': 'y' } })).created.status, 400)
  })
})
