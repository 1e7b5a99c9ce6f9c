/** Processes, exits and packet sockets against the real kernel. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { isFault } from '#base/fault.ts'
import type { Kernel } from '../contract/kernel.ts'
import { openKernel } from './kernel.ts'

let kernel: Kernel & AsyncDisposable
let root: string

before(async () => {
  root = mkdtempSync(join(process.env['BERTH_TEST_ROOT'] ?? tmpdir(), 'p-'))
  kernel = await openKernel()
})

after(async () => {
  await kernel[Symbol.asyncDispose]()
  rmSync(root, { recursive: true })
})

test('run collects both outputs and the exit code', async () => {
  const result = await kernel.processes.run(['sh', '-c', 'cat; echo err >&2; exit 3'], { stdin: 'in', env: { PATH: '/bin:/usr/bin' } })
  assert.deepEqual({ ...result, stdout: result.stdout.toString(), stderr: result.stderr.toString() }, { exitCode: 3, signal: undefined, stdout: 'in', stderr: 'err\n' })
})

test('only what the caller names is in the environment, and cwd is where it says', async () => {
  const result = await kernel.processes.run(['sh', '-c', 'pwd; echo $A; test -z "$BERTH_TEST_ROOT"'], { env: { A: 'b c' }, cwd: root }).catch((error: unknown) => error)
  // PATH is not given: the executable cannot be found.
  assert.ok(isFault(result, 'notFound'))
  const found = await kernel.processes.run(['/bin/sh', '-c', 'pwd; echo $A; test -z "$BERTH_TEST_ROOT"'], { env: { A: 'b c' }, cwd: root })
  assert.equal(found.stdout.toString(), `${root}\nb c\n`)
  assert.equal(found.exitCode, 0)
})

test('a missing executable, a time-out, too much output and an abort are faults of their own', async () => {
  const { processes } = kernel
  await assert.rejects(processes.run(['no-such-thing']), (error) => isFault(error, 'notFound') && error.message.includes('executable file not found'))
  await assert.rejects(processes.run(['sleep', '1000'], { timeoutMs: 20 }), (error) => isFault(error, 'timeout'))
  await assert.rejects(processes.run(['yes'], { maxOutputBytes: 10_000 }), (error) => isFault(error, 'tooLarge'))
  const controller = new AbortController()
  const running = processes.run(['sleep', '1000'], { signal: controller.signal })
  controller.abort()
  await assert.rejects(running, (error) => isFault(error, 'canceled'))
})

test('descriptors above 2 are pipes of their own and no other descriptor leaks', async () => {
  const child = await kernel.processes.start(['sh', '-c', 'cat <&3 >&4; ls /proc/self/fd >&1'], { stdio: ['null', 'pipeOut', 'null', 'pipeIn', 'pipeOut'] })
  const read = async (index: number): Promise<string> => {
    let all = ''
    for await (const chunk of child.stdio[index] ?? []) all += String(chunk)
    return all
  }
  child.stdio[3]?.end('through three')
  const [four, one] = await Promise.all([read(4), read(1)])
  assert.equal(four, 'through three')
  // ls itself opens the folder as the next free descriptor.
  assert.deepEqual(one.trim().split('\n'), ['0', '1', '2', '3', '4', '5'])
  assert.deepEqual(await child.exited, { exitCode: 0, signal: undefined })
})

test('a descriptor may be a file in memory, which the child reads or opens anew by name', async () => {
  const child = await kernel.processes.start(['sh', '-c', 'cat <&3; cat /proc/self/fd/3'], { stdio: ['null', 'pipeOut', 'null', { content: 'héllo\n' }] })
  const pieces: Buffer[] = []
  for await (const piece of child.stdio[1] ?? []) pieces.push(piece)
  assert.equal(Buffer.concat(pieces).toString(), 'héllo\nhéllo\n')
})

test('an exit is seen of a child and of a process that is none of ours, and a reused number is not mistaken', async () => {
  const { processes } = kernel
  // The shell ends at once; its background child is then init's.
  const result = await processes.run(['sh', '-c', 'sleep 1000 >/dev/null 2>&1 & echo $!'])
  const identity = await processes.identify(Number(result.stdout.toString()))
  assert.ok(identity !== undefined)
  const watched = processes.watchExit(identity)
  await assert.rejects(processes.kill({ ...identity, startTime: identity.startTime + 1n }, 9), (error) => isFault(error, 'notFound'))
  await processes.watchExit({ ...identity, startTime: identity.startTime + 1n })
  const controller = new AbortController()
  const given = processes.watchExit(identity, controller.signal)
  controller.abort()
  await assert.rejects(given, (error) => isFault(error, 'canceled'))
  await processes.kill(identity, 15)
  await watched
  assert.equal(await processes.identify(identity.pid), undefined)
  await processes.watchExit(identity)
})

const echoServer = `
use Socket; use IO::Socket;
socket(my $s, AF_UNIX, SOCK_SEQPACKET, 0) or die; bind($s, pack_sockaddr_un($ARGV[0])) or die; listen($s, 5) or die; print "up\\n"; close STDOUT;
accept(my $c, $s) or die; my $n = 0;
while (sysread($c, my $b, 65536)) { $n++; syswrite($c, "$b!") }
syswrite($c, "end $n"); `

test('a packet socket keeps packet borders, half-closes, and takes paths longer than a socket address', async () => {
  const deep = join(root, 'x'.repeat(100))
  await kernel.processes.run(['mkdir', deep])
  const server = await kernel.processes.start(['perl', '-e', `chdir($ARGV[1]); ${echoServer}`, 'sock', deep], { stdio: ['null', 'pipeOut', 'inherit'] })
  for await (const _ of server.stdio[1] ?? []) break
  assert.ok(statSync(join(deep, 'sock')).isSocket())
  const socket = await kernel.poller.connectSeqpacket(join(deep, 'sock'))
  const packets: string[] = []
  let resolveNext = (): void => undefined
  socket.on('data', (packet: Buffer) => {
    packets.push(packet.toString())
    resolveNext()
  })
  for (const text of ['one', 'two']) {
    const next = new Promise<void>((resolve) => (resolveNext = resolve))
    socket.write(text)
    await next
  }
  const ended = new Promise((resolve) => socket.once('end', resolve))
  socket.end()
  await ended
  assert.deepEqual(packets, ['one!', 'two!', 'end 2'])
  await server.exited
  await assert.rejects(kernel.poller.connectSeqpacket(join(deep, 'sock')), (error) => isFault(error, 'unavailable'))
  await assert.rejects(kernel.poller.connectSeqpacket(join(deep, 'none')), (error) => isFault(error, 'notFound'))
})

const floodServer = `
use Socket; socket(my $s, AF_UNIX, SOCK_SEQPACKET, 0) or die; bind($s, pack_sockaddr_un($ARGV[0])) or die; listen($s, 5) or die; print "up\\n"; close STDOUT;
accept(my $c, $s) or die; $SIG{PIPE} = 'IGNORE'; my $b = 'x' x 8000; my $n = 0; while (syswrite($c, $b)) { last if ++$n >= 2000 }`

test('a slow reader gets everything, a reader that stands still is cut off and the sender goes on', async () => {
  for (const { name, reads } of [{ name: 'slow', reads: true }, { name: 'still', reads: false }]) {
    const path = join(root, name)
    const server = await kernel.processes.start(['perl', '-e', floodServer, path], { stdio: ['null', 'pipeOut', 'inherit'] })
    for await (const _ of server.stdio[1] ?? []) break
    const socket = await kernel.poller.connectSeqpacket(path, { stallMs: reads ? 10_000 : 50 })
    if (reads) {
      let bytes = 0
      for await (const packet of socket) bytes += packet.length
      assert.equal(bytes, 2000 * 8000)
    } else {
      const error = await new Promise((resolve) => socket.once('error', resolve))
      assert.ok(isFault(error, 'resourceExhausted'))
    }
    await server.exited
  }
})

test('a TCP connection is made inside another network namespace', async () => {
  const netns = join(root, 'net')
  await kernel.namespaces.create({ pinAt: { net: netns } })
  const listen = '$s = IO::Socket::IP->new(LocalHost => "127.0.0.1", LocalPort => 7001, Listen => 1) or die; syswrite(STDOUT, "up"); $c = $s->accept; print $c uc(<$c>)'
  const server = await kernel.processes.start(['nsenter', `--net=${netns}`, 'perl', '-MIO::Socket::IP', '-e', listen], { stdio: ['null', 'pipeOut', 'inherit'] })
  for await (const _ of server.stdio[1] ?? []) break
  const socket = await kernel.poller.connectTcp({ netns, host: '127.0.0.1', port: 7001 })
  socket.write('hello\n')
  let answer = ''
  for await (const chunk of socket) answer += String(chunk)
  assert.equal(answer, 'HELLO\n')
  await server.exited
  await assert.rejects(kernel.poller.connectTcp({ netns, host: '127.0.0.1', port: 7001 }), (error) => isFault(error, 'unavailable'))
  await kernel.namespaces.remove(netns)
})

test('a sealed copy of an executable runs and cannot be written', async () => {
  const path = await kernel.processes.sealExecutable('/bin/echo')
  assert.equal((await kernel.processes.run([path, 'sealed'])).stdout.toString(), 'sealed\n')
  assert.throws(() => writeFileSync(path, 'x'), { code: 'EPERM' })
  await assert.rejects(kernel.processes.sealExecutable(join(root, 'none')), (error) => isFault(error, 'notFound'))
})
