/**
 * Namespaces that belong to another user namespace than ours. Only a process with a single thread can enter or make a user namespace, so a
 * small one is started in it; what it stands in is pinned from outside, and it ends.
 */
import { Fault } from '#base/fault.ts'
import type { NamespacesRequest } from '../contract/namespaces.ts'
import type { Processes } from '../contract/processes.ts'
import type { KernelThread } from './thread.ts'

type OwnedRequest = NamespacesRequest & { readonly owner: NonNullable<NamespacesRequest['owner']> }

/** Says that it stands where it shall, and waits until it is let go. */
const waits = ['sh', '-c', 'echo && read -r _']

export async function createOwned(request: OwnedRequest, { processes, thread }: { readonly processes: Processes; readonly thread: KernelThread }): Promise<void> {
  const { owner, pinAt, sysctls } = request
  if (pinAt.ipc !== undefined || pinAt.uts !== undefined) throw new Fault('invalidArgument', 'only a network namespace can be made for another user namespace')
  const enter = 'path' in owner ? ['nsenter', `--user=${owner.path}`, '--', 'unshare'] : ['unshare', '--user']
  const argv = [...enter, ...(pinAt.net === undefined ? [] : ['--net']), '--', ...waits]
  const child = await processes.start(argv, { stdio: ['pipeIn', 'pipeOut', 'pipeOut'] })
  const [stdin, stdout, stderr] = child.stdio
  const complaints = textOf(stderr)
  try {
    if ((await firstPiece(stdout)) === undefined) throw new Fault('internal', `a user namespace could not be made or entered: ${(await complaints).trim() || `${argv[0]} ended without a word`}`)
    await thread.call('pinNamespacesOf', { pid: child.pid, pinAt, owner, ...(sysctls === undefined ? {} : { sysctls }) })
  } finally {
    // One that ended by itself reads no more.
    stdin?.on('error', () => stdin.destroy())
    stdin?.end()
    await Promise.all([child.exited, complaints])
  }
}

async function firstPiece(stream: AsyncIterable<Buffer> | undefined): Promise<Buffer | undefined> {
  for await (const piece of stream ?? []) return piece
  return undefined
}

async function textOf(stream: AsyncIterable<Buffer> | undefined): Promise<string> {
  const pieces: Buffer[] = []
  for await (const piece of stream ?? []) pieces.push(piece)
  return Buffer.concat(pieces).toString()
}
