/**
 * The stock docker CLIs (28 and 20.10, whichever are installed) against a real engine: real conmon, crun or runc, overlayfs, networks.
 * Expected words and exit codes are those of Debian's dockerd 20.10, run side by side when this was written.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/log.ts'
import { systemRandom } from '#base/random.ts'
import type { Kernel } from '#linux/contract/kernel.ts'
import { openKernel } from '#linux/real/kernel.ts'
import { openFileBlobs } from '#oci/blobs/file-system.ts'
import { openEngine, type Engine } from '../open.ts'
import { engineHandler } from './handler.ts'

const clients = ['/usr/local/bin/docker', '/usr/bin/docker'].filter((path) => existsSync(path))
const skip = clients.length === 0 ? 'no docker CLI is installed (Debian: apt-get install docker.io)' : existsSync('/bin/busybox') ? false : 'no static busybox is installed (Debian: apt-get install busybox-static)'

interface Outcome {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
}

interface World {
  readonly kernel: Kernel & AsyncDisposable
  readonly root: string
  engine: Engine
  readonly server: Server
  readonly socketPath: string
  readonly docker: (client: string, args: readonly string[], stdin?: string | Buffer) => Promise<Outcome>
}

async function openWorld(): Promise<World> {
  const root = mkdtempSync(join(process.env['BERTH_TEST_ROOT'] ?? tmpdir(), 'cli-'))
  const kernel = await openKernel()
  const engine = await openEngine({
    kernel, blobs: await openFileBlobs(join(root, 'blobs')), paths: { state: join(root, 's'), run: join(root, 'r') }, names: { cgroup: `berth-cli-${process.pid}`, table: 'berth_cli', bridge: 'bcli0' },
    networks: { bridgeSubnet: '172.27.0.0/16' }, clock: systemClock, random: systemRandom, log: silentLogger,
  })
  const handler = engineHandler(engine)
  const server = createServer(handler.request)
  server.on('upgrade', handler.upgrade)
  const socketPath = join(root, 'd.sock')
  server.listen(socketPath)
  await once(server, 'listening')
  const docker = async (client: string, args: readonly string[], stdin: string | Buffer = ''): Promise<Outcome> => {
    const result = await kernel.processes.run([client, ...args], { stdin, timeoutMs: 30_000, env: { DOCKER_HOST: `unix://${socketPath}`, DOCKER_CONFIG: join(root, 'config'), PATH: '/usr/bin:/bin', HOME: root }, maxOutputBytes: 16 << 20 })
    return { exitCode: result.exitCode ?? -1, stdout: result.stdout.toString(), stderr: result.stderr.toString() }
  }
  return { kernel, root, engine, server, socketPath, docker }
}

/** A root with busybox, as a tar. */
async function busyboxTar({ kernel, root }: World): Promise<Buffer> {
  const rootfs = join(root, 'rootfs')
  for (const folder of ['bin', 'etc', 'tmp', 'proc', 'sys', 'dev']) mkdirSync(join(rootfs, folder), { recursive: true })
  copyFileSync('/bin/busybox', join(rootfs, 'bin/busybox'))
  for (const name of ['sh', 'cat', 'echo', 'true', 'false', 'sleep', 'id', 'env', 'ps', 'head', 'yes', 'wc', 'grep', 'touch', 'hostname', 'httpd', 'wget', 'ls', 'tty']) symlinkSync('busybox', join(rootfs, 'bin', name))
  writeFileSync(join(rootfs, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1000::/home:/bin/sh\n')
  writeFileSync(join(rootfs, 'etc/group'), 'root:x:0:\nbob:x:1000:\nstaff:x:50:bob\n')
  const { stdout } = await kernel.processes.run(['tar', '-C', rootfs, '-c', '.'], { maxOutputBytes: 32 << 20 })
  return stdout
}

const runFailure = /OCI runtime create failed: .*unable to start container process: /

suite('the docker CLI against a real engine', { skip }, () => {
  let world: World
  before(async () => {
    world = await openWorld()
    const imported = await world.docker(clients[0] ?? '', ['import', '-', 'bb:1'], await busyboxTar(world))
    assert.equal(imported.exitCode, 0, imported.stderr)
  })
  after(async () => {
    for (const { id } of world.engine.containers.list({ namespace: 'all' })) await world.engine.containers.remove(id, { force: true })
    world.server.closeAllConnections()
    world.server.close()
    await world.engine[Symbol.asyncDispose]()
    await world.kernel.links.deleteLink('bcli0')
    await world.kernel.cgroups.remove(`berth-cli-${process.pid}`)
    await world.kernel[Symbol.asyncDispose]()
    rmSync(world.root, { recursive: true })
  })

  for (const client of clients) {
    const docker = (...args: string[]): Promise<Outcome> => world.docker(client, args)
    const expect = async (args: readonly string[], wanted: { readonly exitCode?: number; readonly stdout?: string | RegExp; readonly stderr?: RegExp; readonly stdin?: string | Buffer }): Promise<Outcome> => {
      const outcome = await world.docker(client, args, wanted.stdin)
      const told = `docker ${args.join(' ')}\n${outcome.stdout}${outcome.stderr}`
      assert.equal(outcome.exitCode, wanted.exitCode ?? 0, told)
      if (typeof wanted.stdout === 'string') assert.equal(outcome.stdout, wanted.stdout, told)
      else if (wanted.stdout !== undefined) assert.match(outcome.stdout, wanted.stdout, told)
      if (wanted.stderr !== undefined) assert.match(outcome.stderr, wanted.stderr, told)
      return outcome
    }
    const run = ['run', '--rm', 'bb:1']

    test(`${client}: version, info and images answer`, async () => {
      await expect(['version', '--format', '{{.Server.Version}}'], { stdout: /^\d+\.\d+\.\d+/ })
      await expect(['info', '--format', '{{.Driver}} {{.OSType}}'], { stdout: 'overlay2 linux\n' })
      await expect(['images', '--format', '{{.Repository}}:{{.Tag}}'], { stdout: /^bb:1$/m })
    })

    test(`${client}: run gives output, input and exit codes`, async () => {
      await expect([...run, 'echo', 'hello'], { stdout: 'hello\n' })
      await expect([...run, 'sh', '-c', 'echo out; echo err >&2; exit 42'], { exitCode: 42, stdout: 'out\n', stderr: /^err$/m })
      await expect(['run', '--rm', '-i', 'bb:1', 'wc', '-c'], { stdin: Buffer.alloc(3_000_000), stdout: '3000000\n' })
      await expect([...run, 'sh', '-c', 'sleep 100 & kill -9 $!; wait $!'], { exitCode: 137 })
      await expect([...run, 'nosuch'], { exitCode: 127, stderr: new RegExp(`${runFailure.source}exec: "nosuch": executable file not found in \\$PATH`) })
      await expect([...run, '/etc/passwd'], { exitCode: 126, stderr: new RegExp(`${runFailure.source}exec: "/etc/passwd": permission denied`) })
      await expect(['run', '--rm', '-u', 'nouser', 'bb:1', 'true'], { exitCode: 125, stderr: /unable to find user nouser: no matching entries in passwd file/ })
      await expect(['run', '--rm', '--network', 'nope', 'bb:1', 'true'], { exitCode: 125, stderr: /network nope not found/ })
      assert.equal((await docker('ps', '-aq')).stdout, '')
    })

    test(`${client}: options reach the process`, async () => {
      await expect(['run', '--rm', '-u', 'bob', '-w', '/new/dir', '-e', 'A=b', '-h', 'hh', 'bb:1', 'sh', '-c', 'id; pwd; echo $A; hostname'], { stdout: 'uid=1000(bob) gid=1000(bob) groups=50(staff),1000(bob)\n/new/dir\nb\nhh\n' })
      await expect(['run', '--rm', '--cap-drop', 'ALL', 'bb:1', 'grep', 'CapEff', '/proc/self/status'], { stdout: /\t0000000000000000\n/ })
      await expect(['run', '--rm', '--read-only', 'bb:1', 'touch', '/x'], { exitCode: 1, stderr: /Read-only file system/ })
      await expect(['run', '--rm', '--entrypoint', 'echo', 'bb:1', 'a', 'b'], { stdout: 'a b\n' })
      await expect(['run', '--rm', '--add-host', 'foo:192.0.2.4', 'bb:1', 'grep', 'foo', '/etc/hosts'], { stdout: '192.0.2.4\tfoo\n' })
      await expect(['run', '--rm', '-m', '1k', 'bb:1', 'true'], { exitCode: 125, stderr: /Minimum memory limit allowed is 6MB/ })
      await expect(['run', '--rm', '-m', '20m', '--cpus', '0.5', '--pids-limit', '10', 'bb:1', 'true'], {})
      await expect(['run', '--rm', '-t', 'bb:1', 'tty'], { stdout: '/dev/pts/0\r\n' })
      // A volume over /etc hides nothing of what the engine puts there.
      await expect(['run', '--rm', '-v', '/etc', 'bb:1', 'sh', '-c', 'grep -c localhost /etc/hosts; grep -c "^proc /proc " /etc/mtab; ls /etc'], { stdout: '2\n1\ngroup\nhostname\nhosts\nmtab\npasswd\nresolv.conf\n' })
    })

    test(`${client}: a container's life`, async () => {
      await docker('run', '-d', '--name', 'life', 'bb:1', 'sleep', '1000')
      await expect(['run', '--name', 'life', 'bb:1', 'true'], { exitCode: 125, stderr: /The container name "\/life" is already in use by container/ })
      await expect(['ps', '--format', '{{.Names}} {{.Image}} {{.Command}} {{.State}}'], { stdout: 'life bb:1 "sleep 1000" running\n' })
      await expect(['exec', 'life', 'sh', '-c', 'echo in; exit 9'], { exitCode: 9, stdout: 'in\n' })
      await expect(['exec', '-i', 'life', 'cat'], { stdin: 'typed', stdout: 'typed' })
      await expect(['exec', 'life', 'nosuch'], { exitCode: 127, stdout: /exec: "nosuch": executable file not found in \$PATH/ })
      await expect(['top', 'life', '-o', 'pid,args'], { stdout: /sleep 1000/ })
      await expect(['stats', '--no-stream', '--format', '{{.Name}} {{.PIDs}}', 'life'], { stdout: 'life 1\n' })
      await expect(['pause', 'life'], { stdout: 'life\n' })
      await expect(['exec', 'life', 'true'], { exitCode: 1, stderr: /Container life is paused, unpause the container before exec/ })
      await expect(['unpause', 'life'], { stdout: 'life\n' })
      await expect(['rm', 'life'], { exitCode: 1, stderr: /You cannot remove a running container/ })
      await expect(['stop', '-t', '0', 'life'], { stdout: 'life\n' })
      await expect(['inspect', '-f', '{{.State.Status}} {{.State.ExitCode}}', 'life'], { stdout: 'exited 137\n' })
      await expect(['kill', 'life'], { exitCode: 1, stderr: /Cannot kill container: life: Container [0-9a-f]{64} is not running/ })
      await expect(['start', 'life'], { stdout: 'life\n' })
      await expect(['restart', '-t', '0', 'life'], { stdout: 'life\n' })
      await expect(['rm', '-f', 'life'], { stdout: 'life\n' })
      await expect(['logs', 'life'], { exitCode: 1, stderr: /No such container: life/ })
    })

    test(`${client}: logs, follow, wait, restart policy`, async () => {
      await expect(['run', '--name', 'talk', 'bb:1', 'sh', '-c', 'for i in 1 2 3; do echo line $i; done'], { stdout: 'line 1\nline 2\nline 3\n' })
      await expect(['logs', '--tail', '2', 'talk'], { stdout: 'line 2\nline 3\n' })
      await expect(['logs', '-f', '-t', 'talk'], { stdout: /^\d{4}-\d\d-\d\dT[\d:.]+Z line 1\n/ })
      await docker('rm', 'talk')
      await docker('run', '-d', '--name', 'waits', 'bb:1', 'sh', '-c', 'echo a; sleep 0.3; echo b; exit 4')
      const [followed, waited] = await Promise.all([docker('logs', '-f', 'waits'), docker('wait', 'waits')])
      assert.equal(followed.stdout, 'a\nb\n')
      assert.equal(waited.stdout, '4\n')
      await docker('rm', 'waits')
      await docker('run', '-d', '--name', 'again', '--restart', 'on-failure:1', 'bb:1', 'false')
      while ((await world.engine.containers.inspect('again')).state.status !== 'exited') {
        const { result } = await world.engine.containers.wait('again', 'next-exit', AbortSignal.timeout(10_000))
        await result
      }
      await expect(['inspect', '-f', '{{.RestartCount}} {{.State.Status}}', 'again'], { stdout: '1 exited\n' })
      await docker('rm', 'again')
    })

    test(`${client}: volumes, binds, copies, published ports`, async () => {
      await expect(['run', '--rm', '-v', 'keep:/data', 'bb:1', 'sh', '-c', 'echo kept > /data/f'], {})
      await expect(['run', '--rm', '-v', 'keep:/data:ro', 'bb:1', 'cat', '/data/f'], { stdout: 'kept\n' })
      await expect(['volume', 'rm', 'keep'], { stdout: 'keep\n' })
      await expect(['run', '--rm', '--mount', 'type=bind,source=/nope,target=/x', 'bb:1', 'true'], { exitCode: 125, stderr: /bind source path does not exist: \/nope/ })
      await docker('run', '-d', '--name', 'web', '-p', '127.0.0.1::80', 'bb:1', 'httpd', '-f', '-h', '/etc')
      const port = (await docker('port', 'web', '80')).stdout.trim()
      assert.match(port, /^127\.0\.0\.1:\d+$/)
      await expect(['cp', 'web:/etc/group', join(world.root, 'copied')], {})
      await expect(['cp', join(world.root, 'copied'), 'web:/etc/copied'], {})
      await expect(['exec', 'web', 'cat', '/etc/copied'], { stdout: /bob:x:1000/ })
      await expect(['run', '--rm', '--network', 'container:web', 'bb:1', 'wget', '-q', '-O-', 'http://127.0.0.1/copied'], { stdout: /bob:x:1000/ })
      await expect(['rm', '-f', 'web'], {})
      const there = join(world.root, 'there')
      mkdirSync(there, { recursive: true })
      await docker('volume', 'create', '-o', 'type=none', '-o', 'o=bind', '-o', `device=${there}`, 'bound')
      await docker('create', '--name', 'holds', '-v', '/data', '-v', '/etc', '-v', 'bound:/bound', '--tmpfs', '/scratch', 'bb:1', 'sleep', '1000')
      await expect(['cp', join(world.root, 'copied'), 'holds:/data/in-volume'], {})
      // A volume with options is mounted for whoever looks into a container that does not run.
      await expect(['cp', join(world.root, 'copied'), 'holds:/bound/copied'], {})
      assert.match(readFileSync(join(there, 'copied'), 'utf8'), /bob:x:1000/)
      await expect(['cp', 'holds:/bound/copied', join(world.root, 'made')], {})
      assert.match(readFileSync(join(world.root, 'made'), 'utf8'), /bob:x:1000/)
      // The files that the engine makes are there before it is started, and as they were when it has ended.
      await expect(['cp', 'holds:/etc/resolv.conf', join(world.root, 'made')], {})
      assert.equal(readFileSync(join(world.root, 'made'), 'utf8'), '')
      await docker('start', 'holds')
      await expect(['cp', join(world.root, 'copied'), 'holds:/scratch/in-tmpfs'], {})
      await expect(['exec', 'holds', 'cat', '/data/in-volume', '/scratch/in-tmpfs'], { stdout: /bob:x:1000.*bob:x:1000/s })
      const hostname = (await docker('exec', 'holds', 'hostname')).stdout
      await docker('stop', '-t', '0', 'holds')
      await expect(['cp', 'holds:/etc/hostname', join(world.root, 'made')], {})
      assert.equal(readFileSync(join(world.root, 'made'), 'utf8'), hostname)
      await expect(['rm', '-f', '-v', 'holds'], {})
      await expect(['volume', 'rm', 'bound'], { stdout: 'bound\n' })
    })

    test(`${client}: images are tagged, saved, loaded, committed and removed`, async () => {
      await expect(['tag', 'bb:1', 'localhost:5000/team/bb:2'], {})
      await expect(['save', '-o', join(world.root, 'saved.tar'), 'localhost:5000/team/bb:2'], {})
      await expect(['rmi', 'localhost:5000/team/bb:2'], { stdout: 'Untagged: localhost:5000/team/bb:2\n' })
      await expect(['load', '-i', join(world.root, 'saved.tar')], { stdout: /Loaded image: localhost:5000\/team\/bb:2/ })
      await expect(['rmi', 'localhost:5000/team/bb:2'], {})
      await docker('create', '--name', 'base', 'bb:1', 'true')
      await expect(['commit', '-c', 'CMD ["echo","committed"]', 'base', 'cm:1'], { stdout: /^sha256:/ })
      await docker('rm', 'base')
      await expect(['run', '--rm', 'cm:1'], { stdout: 'committed\n' })
      await expect(['rmi', 'cm:1'], { stdout: /^Untagged: cm:1\nDeleted: sha256:/ })
      await expect(['rmi', 'nosuch'], { exitCode: 1, stderr: /No such image: nosuch/ })
    })

    test(`${client}: a user-defined network comes, connects and goes`, async () => {
      await docker('network', 'create', 'shop')
      await docker('run', '-d', '--name', 'member', '--network', 'shop', 'bb:1', 'sleep', '1000')
      await expect(['network', 'rm', 'shop'], { exitCode: 1, stderr: /has active endpoints/ })
      await docker('rm', '-f', 'member')
      await expect(['network', 'rm', 'shop'], { stdout: 'shop\n' })
      await expect(['network', 'rm', 'bridge'], { exitCode: 1, stderr: /bridge is a pre-defined network and cannot be removed/ })
    })

    test(`${client}: a link gives a name, an address and variables, and can be taken away`, async () => {
      await docker('run', '-d', '--name', 'linked', '-e', 'FOO=1', '--expose', '80', 'bb:1', 'sleep', '1000')
      await docker('run', '-d', '--name', 'links', '--link', 'linked:db-1', 'bb:1', 'sleep', '1000')
      await expect(['exec', 'links', 'grep', '-c', 'db-1', '/etc/hosts'], { stdout: '1\n' })
      await expect(['exec', 'links', 'sh', '-c', 'tr "\\0" "\\n" < /proc/1/environ'], { stdout: /^DB_1_NAME=\/links\/db-1$/m })
      await expect(['exec', 'links', 'sh', '-c', 'tr "\\0" "\\n" < /proc/1/environ'], { stdout: /^DB_1_ENV_FOO=1$/m })
      await expect(['inspect', '--format', '{{.Name}}', 'links/db-1'], { stdout: '/linked\n' })
      await expect(['ps', '--no-trunc', '--filter', 'name=linked', '--format', '{{.Names}}'], { stdout: /links\/db-1/ })
      await expect(['rm', '--link', 'links'], { exitCode: 1, stderr: /cannot remove the default link name of the container/ })
      await expect(['rm', '--link', 'links/db-1'], {})
      await expect(['exec', 'links', 'grep', '-c', 'db-1', '/etc/hosts'], { exitCode: 1 })
      await expect(['inspect', '--format', '{{.HostConfig.Links}}', 'links'], { stdout: '[]\n' })
      await expect(['rm', '-f', 'links', 'linked'], {})
    })
  }

  test('a container outlives the engine and is adopted by the next one, with its log and exit code', async () => {
    const client = clients[0] ?? ''
    await world.docker(client, ['run', '-d', '--name', 'outlives', 'bb:1', 'sh', '-c', 'i=0; while [ ! -e /stop ]; do i=$((i+1)); echo $i; sleep 0.1; done; exit 6'])
    const { kernel, root } = world
    const before = (await world.engine.containers.inspect('outlives')).state.pid
    await world.engine[Symbol.asyncDispose]()
    world.engine = await openEngine({
      kernel, blobs: await openFileBlobs(join(root, 'blobs')), paths: { state: join(root, 's'), run: join(root, 'r') }, names: { cgroup: `berth-cli-${process.pid}`, table: 'berth_cli', bridge: 'bcli0' },
      networks: { bridgeSubnet: '172.27.0.0/16' }, clock: systemClock, random: systemRandom, log: silentLogger,
    })
    const { containers } = world.engine
    const { state } = await containers.inspect('outlives')
    assert.equal(state.status, 'running')
    assert.equal(state.pid, before)
    const { result } = await containers.wait('outlives', 'not-running')
    const { execId } = await containers.createExec('outlives', { command: ['touch', '/stop'] })
    await (await containers.startExec(execId)).exited
    assert.equal((await result).exitCode, 6)
    await containers.remove('outlives')
  })
})
