/** The smaller parts: signals, capabilities, users, seccomp, queues, devices' neighbours. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { Fault, isFault } from '#base/fault.ts'
import { virtualClock } from '#sim/clock.ts'
import { allCapabilities, capabilitiesOf, defaultCapabilities } from './capabilities.ts'
import { mergedEnv } from './effective.ts'
import { lookUpIdentity, resolveInRoot } from './identity.ts'
import { OutputQueue } from './output-queue.ts'
import { psArguments, selectProcesses } from './process-table.ts'
import { execFault, startFault } from './runtime-failure.ts'
import { defaultSeccomp } from './seccomp.ts'
import { signalNumber } from './signals.ts'
import { rlimitsOf } from './spec.ts'

test('signals are known by name, bare name and number', () => {
  assert.deepEqual(['SIGTERM', 'term', '15', 'SIGRTMIN+3', 'KILL'].map(signalNumber), [15, 15, 15, 37, 9])
  for (const wrong of ['FOO', '0', '65', 'SIGRTMIN+99', '']) assert.throws(() => signalNumber(wrong), (error) => isFault(error, 'invalidArgument') && error.message === `Invalid signal: ${wrong}`)
})

test('capabilities: defaults, added, dropped, all, and never what the machine lacks', () => {
  const of = (add: string[], drop: string[], privileged = false): string[] => capabilitiesOf({ add, drop, privileged }, new Set(['CAP_SYS_RESOURCE']))
  assert.deepEqual(new Set(of([], [])), new Set(defaultCapabilities))
  assert.deepEqual(of(['net_admin'], ['ALL']), ['CAP_NET_ADMIN'])
  assert.equal(of(['ALL'], ['CAP_CHOWN']).includes('CAP_CHOWN'), false)
  assert.equal(of([], [], true).length, allCapabilities.length - 1)
  assert.throws(() => of(['FOO'], []), /invalid CapAdd: unknown capability: "CAP_FOO"/)
})

test('the seccomp profile gives CAP_SYS_ADMIN its calls and nobody else', () => {
  const allowed = (capabilities: string[]): readonly string[] => (defaultSeccomp(capabilities, 'amd64').syscalls ?? []).find(({ action }) => action === 'SCMP_ACT_ALLOW')?.names ?? []
  assert.equal(allowed([]).includes('mount'), false)
  assert.equal(allowed(['CAP_SYS_ADMIN']).includes('mount'), true)
  assert.equal(allowed([]).includes('openat'), true)
})

test('users and groups come from the container’s own files, and links stay inside its root', async () => {
  const root = mkdtempSync(join(process.env['BERTH_TEST_ROOT'] ?? tmpdir(), 'id-'))
  try {
    mkdirSync(join(root, 'real'))
    mkdirSync(join(root, 'etc'))
    writeFileSync(join(root, 'real/passwd'), 'root:x:0:0::/root:/bin/sh\nbob:x:1000:1001::/home/bob:/bin/sh\n')
    writeFileSync(join(root, 'etc/group'), 'staff:x:50:bob\nbob:x:1001:\n')
    symlinkSync('/real/passwd', join(root, 'etc/passwd'))
    symlinkSync('../../../../..', join(root, 'up'))
    assert.deepEqual(await lookUpIdentity(root, 'bob', []), { uid: 1000, gid: 1001, additionalGids: [1001, 50], home: '/home/bob' })
    assert.deepEqual(await lookUpIdentity(root, '1000:staff', ['bob']), { uid: 1000, gid: 50, additionalGids: [50, 1001], home: '/home/bob' })
    assert.deepEqual(await lookUpIdentity(root, '4321', []), { uid: 4321, gid: 0, additionalGids: [0], home: '/' })
    await assert.rejects(lookUpIdentity(root, 'nouser', []), /unable to find user nouser: no matching entries in passwd file/)
    assert.equal(await resolveInRoot(root, '/up/etc/shadow'), join(root, 'etc/shadow'))
    assert.equal(await resolveInRoot(root, '../../x'), join(root, 'x'))
  } finally {
    rmSync(root, { recursive: true })
  }
})

test('the container’s environment comes before the image’s, and a bare key removes', () => {
  assert.deepEqual(mergedEnv(['A=1', 'B'], ['A=0', 'B=2', 'C=3']), ['A=1', 'C=3'])
})

test('why a start failed is told once, in runc’s words or as the runtime told it', () => {
  const told = (kind: string, runtimeMessage: string): string => startFault(new Fault('invalidArgument', 'x', { details: { runtimeFailure: { kind, runtimeMessage } } }), 'nosuch').message.replace(/^.*OCI runtime create failed: /, '')
  assert.equal(told('executableNotFound', 'executable file `nosuch` not found in $PATH'), 'runc create failed: unable to start container process: exec: "nosuch": executable file not found in $PATH: unknown')
  assert.equal(told('other', 'runc create failed: unable to start container process: odd'), 'runc create failed: unable to start container process: odd: unknown')
  assert.equal(told('other', 'odd'), 'unable to start container process: odd: unknown')
})

test('limits are lowered to what the machine lets us give', () => {
  assert.deepEqual(rlimitsOf([{ name: 'nofile', soft: 1024, hard: 100_000 }], new Map([['RLIMIT_NOFILE', 20_000]])), [{ type: 'RLIMIT_NOFILE', soft: 1024, hard: 20_000 }])
  assert.deepEqual(rlimitsOf([{ name: 'core', soft: -1, hard: -1 }], new Map([['RLIMIT_CORE', 5]])), [{ type: 'RLIMIT_CORE', soft: 5, hard: 5 }])
})

test('a queue holds its writer back, and cuts a reader off that stalls', async () => {
  const clock = virtualClock()
  let closed = false
  const queue = new OutputQueue({ clock, highWaterBytes: 10, stallMs: 1000, onClosed: () => (closed = true) })
  assert.equal(queue.write('stdout', Buffer.alloc(10)), undefined)
  const held = queue.write('stdout', Buffer.alloc(1))
  assert.ok(held instanceof Promise)
  await clock.advance(1001)
  await held
  assert.equal(closed, true)
  await assert.rejects(async () => {
    for await (const chunk of queue) void chunk
  }, (error) => isFault(error, 'resourceExhausted'))
})

test('a queue gives every byte, in order, to a reader that reads', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.uint8Array({ minLength: 1, maxLength: 20 }), { maxLength: 30 }), async (chunks) => {
      const queue = new OutputQueue({ clock: virtualClock(), highWaterBytes: 16 })
      const writing = (async () => {
        for (const chunk of chunks) await queue.write('stdout', Buffer.from(chunk))
        queue.end()
      })()
      const read: Buffer[] = []
      for await (const { data } of queue) read.push(data)
      await writing
      assert.deepEqual(Buffer.concat(read), Buffer.concat(chunks.map((chunk) => Buffer.from(chunk))))
    }),
  )
})

test('top keeps the container’s processes and refuses arguments that are none of ps’s', () => {
  assert.deepEqual(selectProcesses('  PID CMD\n    1 init of it\n    2 other\n', new Set([1])), { titles: ['PID', 'CMD'], processes: [['1', 'init of it']] })
  assert.deepEqual(psArguments('-o pid,cmd'), ['-o', 'pid,cmd'])
  assert.throws(() => psArguments('; rm -rf /'), (error) => isFault(error, 'invalidArgument'))
})

test("what a runtime says of itself stands in Docker's words once", () => {
  const runtimeMessage = 'exec failed: unable to start container process: chdir to cwd ("/nosuch") set in config.json failed: no such file or directory'
  const fault = execFault(new Fault('invalidArgument', 'x', { details: { runtimeFailure: { kind: 'workingDirectory', runtimeMessage } } }), 'true')
  assert.equal(fault.message, 'OCI runtime exec failed: exec failed: unable to start container process: chdir to cwd ("/nosuch") set in config.json failed: no such file or directory: unknown')
})
