/** posix_spawn(3) in a kernel worker. It never copies the page tables of this large process, unlike a fork, and blocks no main thread. */
import { closeSync, fchownSync, openSync, writeFileSync } from 'node:fs'
import { errnoFault } from '../../contract/errno.ts'
import type { ChildDescriptor } from '../../contract/processes.ts'
import { findExecutable } from '../executables.ts'
import { check, errnoName, libc, O_CLOEXEC, spawnCalls } from '../libc.ts'
import { bornIn } from './cgroups.ts'
import { startTimeOf } from './identity.ts'
import { openMemoryFile } from './memory-file.ts'

export interface SpawnRequest {
  readonly argv: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly stdio: readonly ChildDescriptor[]
  readonly cwd?: string
  readonly session: boolean
  readonly cgroup?: string
  readonly pipeOwner?: { readonly uid: number; readonly gid: number }
}

export interface Spawned {
  readonly pid: number
  /** Our ends of the pipes, by the child's descriptor number. */
  readonly pipes: readonly (number | undefined)[]
}

const POSIX_SPAWN_SETSIGDEF = 4
const POSIX_SPAWN_SETSIGMASK = 8
const POSIX_SPAWN_SETSID = 0x80
const F_DUPFD_CLOEXEC = 1030
const SEEK_SET = 0
/** Sizes with room to spare; glibc's structures take 80 and 336 bytes. */
const actionsBytes = 256
const attributesBytes = 1024

export function spawn(request: SpawnRequest): Spawned {
  const path = findExecutable(request.argv[0] ?? '', request.env['PATH'] ?? '')
  const ours: (number | undefined)[] = []
  const theirs: number[] = []
  try {
    const sources = request.stdio.map((descriptor) => openDescriptor(descriptor, { ours, theirs, owner: request.pipeOwner }))
    const pid = bornIn(request.cgroup, () => posixSpawn(path, request, sources))
    return { pid, pipes: ours }
  } catch (error) {
    for (const fd of ours) if (fd !== undefined) closeSync(fd)
    throw error
  } finally {
    for (const fd of theirs) closeSync(fd)
  }
}

interface Opened {
  readonly ours: (number | undefined)[]
  readonly theirs: number[]
  readonly owner: SpawnRequest['pipeOwner']
}

/** The descriptor the child's one is copied from; undefined: our own of the same number. */
function openDescriptor(descriptor: ChildDescriptor, opened: Opened): number | undefined {
  const own = (fd: number | undefined): void => void opened.ours.push(fd)
  switch (descriptor) {
    case 'inherit':
      own(undefined)
      return undefined
    case 'null': {
      own(undefined)
      const fd = openSync('/dev/null', 'r+')
      opened.theirs.push(fd)
      return fd
    }
    case 'pipeIn':
    case 'pipeOut': {
      const [read, write] = pipe()
      if (opened.owner !== undefined) fchownSync(read, opened.owner.uid, opened.owner.gid)
      own(descriptor === 'pipeIn' ? write : read)
      opened.theirs.push(descriptor === 'pipeIn' ? read : write)
      return descriptor === 'pipeIn' ? read : write
    }
    default: {
      own(undefined)
      if ('fd' in descriptor) return descriptor.fd
      const fd = openMemoryFile({ executable: false, what: 'make a file in memory' })
      opened.theirs.push(fd)
      writeFileSync(fd, descriptor.content)
      check(libc.lseek(fd, 0, SEEK_SET), 'rewind a file in memory')
      return fd
    }
  }
}

function pipe(): [read: number, write: number] {
  const fds = Buffer.alloc(8)
  check(libc.pipe2(fds, O_CLOEXEC), 'open a pipe')
  return [fds.readInt32LE(0), fds.readInt32LE(4)]
}

function posixSpawn(path: string, request: SpawnRequest, sources: readonly (number | undefined)[]): number {
  const actions = Buffer.alloc(actionsBytes)
  const attributes = Buffer.alloc(attributesBytes)
  const pid = Buffer.alloc(4)
  const lifted: number[] = []
  spawnCalls.actionsInit(actions)
  spawnCalls.attributesInit(attributes)
  try {
    // Sources are first moved above the targets, so that no copy overwrites a source that is still needed.
    for (const [target, source] of sources.entries()) {
      const high = check(libc.fcntl(source ?? target, F_DUPFD_CLOEXEC, 64), `descriptor ${target} of ${path}`)
      lifted.push(high)
      spawnCalls.actionsDup2(actions, high, target)
    }
    // Descriptors that were handed to us without close-on-exec are nobody else's business (glibc 2.34 and later).
    spawnCalls.actionsCloseFrom?.(actions, sources.length)
    if (request.cwd !== undefined) spawnCalls.actionsChdir(actions, request.cwd)
    spawnCalls.attributesFlags(attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | (request.session ? POSIX_SPAWN_SETSID : 0))
    spawnCalls.attributesMask(attributes, Buffer.alloc(128))
    spawnCalls.attributesDefault(attributes, Buffer.alloc(128, 0xff))
    const env = Object.entries(request.env).map(([name, value]) => `${name}=${value}`)
    const failed = spawnCalls.spawn(pid, path, actions, attributes, [...request.argv, null], [...env, null])
    if (failed !== 0) throw errnoFault(errnoName(failed), `start ${path}${request.cwd === undefined ? '' : ` in ${request.cwd}`}`)
    return pid.readInt32LE(0)
  } finally {
    for (const fd of lifted) closeSync(fd)
    spawnCalls.actionsDestroy(actions)
    spawnCalls.attributesDestroy(attributes)
  }
}

/** Sends a signal through a pidfd, so that it cannot hit a process that took over the number. */
export function signalProcess(request: { readonly pid: number; readonly startTime?: bigint; readonly signal: number }): void {
  const what = `send signal ${request.signal} to process ${request.pid}`
  const fd = check(libc.pidfdOpen(request.pid, 0), what)
  try {
    if (request.startTime !== undefined && startTimeOf(request.pid) !== request.startTime) throw errnoFault('ESRCH', what)
    check(libc.pidfdSendSignal(fd, request.signal, null, 0), what)
  } finally {
    libc.close(fd)
  }
}
