/** What `RUN --mount` puts into the command's container, and takes away after it (docs.docker.com/reference/dockerfile, "RUN --mount"). */
import { chmod, chown, mkdir, open, writeFile, type FileHandle } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { join, posix } from 'node:path'
import type { ResolvedMount } from '../contract/containers.ts'
import { resolveInRoot } from '../containers/identity.ts'
import type { BuildShared } from './build-shared.ts'
import { cacheKey } from './cache.ts'
import { syntaxFault } from './dockerfile/fault.ts'
import type { Instruction, RunInstruction } from './dockerfile/instructions.ts'
import type { RunMount } from './dockerfile/mounts.ts'
import type { PlaceFilesArgs } from './place-files.job.ts'
import type { ContentSources } from './stage-tools.ts'
import { contentDigest } from './tree.ts'

export type CommandMount = ResolvedMount & { readonly options?: readonly string[] }

type RunAt = RunInstruction & Instruction

/** What of the mounts takes part in the cache key: contents of bind mounts, never those of caches, secrets and agents. */
export async function mountIdentities(instruction: RunAt, { context }: BuildShared, sources: ContentSources): Promise<readonly unknown[]> {
  return Promise.all(
    instruction.mounts.map(async (mount) => {
      if (mount.type !== 'bind') return mount
      if (mount.from === undefined) return { ...mount, digest: contentDigest(context.select(mount.source), { withOwners: false }) }
      return { ...mount, chainId: (await sources.chainOf(mount.from, instruction)) ?? '' }
    }),
  )
}

export class RunMounts implements AsyncDisposable {
  readonly list: CommandMount[] = []
  readonly env: string[] = []
  readonly #instruction: RunAt
  readonly #folder: string
  readonly #shared: BuildShared
  readonly #sources: ContentSources
  /** A folder in memory: what is secret never reaches the disk. */
  #memory: string | undefined
  readonly #agents: { readonly server: Server; readonly folder: FileHandle }[] = []
  readonly #connections = new Set<Socket>()

  private constructor(instruction: RunAt, folder: string, shared: BuildShared, sources: ContentSources) {
    this.#instruction = instruction
    this.#folder = folder
    this.#shared = shared
    this.#sources = sources
  }

  /** `folder`: the command's own, empty. */
  static async open(instruction: RunAt, folder: string, shared: BuildShared, sources: ContentSources): Promise<RunMounts> {
    const mounts = new RunMounts(instruction, folder, shared, sources)
    try {
      for (const [index, mount] of instruction.mounts.entries()) await mounts.#add(mount, index)
      return mounts
    } catch (error) {
      await mounts[Symbol.asyncDispose]()
      throw error
    }
  }

  /** A read-only file that anybody may execute. */
  async addFile(target: string, content: string): Promise<void> {
    const path = join(this.#folder, `file-${this.list.length}`)
    await writeFile(path, content, { mode: 0o755 })
    this.list.push(bindMount(path, target, true))
  }

  async #add(mount: RunMount, index: number): Promise<void> {
    switch (mount.type) {
      case 'tmpfs': {
        const options = mount.sizeBytes === undefined ? [] : [`size=${mount.sizeBytes}`]
        this.list.push({ type: 'tmpfs', source: '', target: absolute(mount.target), readonly: false, propagation: '', options })
        return
      }
      case 'cache': {
        const source = join(this.#shared.options.stateDir, 'mounts', cacheKey('mount', mount.id, mount.from ?? '', mount.source))
        await mkdir(source, { recursive: true, mode: mount.mode })
        this.list.push(bindMount(source, absolute(mount.target), mount.readonly))
        return
      }
      case 'bind':
        this.list.push(bindMount(await this.#bindSource(mount, join(this.#folder, `mount-${index}`)), absolute(mount.target), true))
        return
      case 'secret':
        return this.#addSecret(mount, index)
      case 'ssh':
        return this.#addAgent(mount, index)
    }
  }

  async #bindSource(mount: Extract<RunMount, { type: 'bind' }>, folder: string): Promise<string> {
    const { options, context, spool, signal } = this.#shared
    const at = this.#instruction
    if (mount.writable) throw syntaxFault(at, 'RUN --mount=type=bind,rw is not supported: copy the files first')
    if (mount.from !== undefined) {
      const chainId = await this.#sources.chainOf(mount.from, at)
      if (chainId === undefined) throw syntaxFault(at, `RUN --mount: ${mount.from} has no files`)
      return resolveInRoot(await this.#sources.view(chainId), mount.source)
    }
    const selection = context.select(mount.source)
    if (selection.length === 0) throw syntaxFault(at, `RUN --mount: ${mount.source} is not in the build context`)
    await mkdir(folder)
    const isFile = selection[0]?.entries[0]?.type === 'file'
    const args: PlaceFilesArgs = { fd: spool.fd, selection, destination: isFile ? '/content' : '/', isFolder: false, keepOwners: false }
    await options.confined.run(folder, new URL('./place-files.job.ts', import.meta.url), args, { signal })
    return isFile ? join(folder, 'content') : folder
  }

  async #addSecret(mount: Extract<RunMount, { type: 'secret' }>, index: number): Promise<void> {
    const content = await this.#shared.request.loans?.secret(mount.id)
    if (content === undefined) {
      if (mount.required) throw syntaxFault(this.#instruction, `secret ${mount.id}: not found`)
      return
    }
    if (mount.env !== undefined) this.env.push(`${mount.env}=${content.toString('utf8')}`)
    if (mount.target === undefined) return
    const path = join(await this.#inMemory(), `secret-${index}`)
    await writeFile(path, content, { mode: 0o600 })
    await own(path, mount)
    this.list.push(bindMount(path, absolute(mount.target), true))
  }

  async #addAgent(mount: Extract<RunMount, { type: 'ssh' }>, index: number): Promise<void> {
    const { loans } = this.#shared.request
    if (loans === undefined || !(await loans.hasAgent(mount.id))) {
      if (mount.required) throw syntaxFault(this.#instruction, `unset ssh forward key ${mount.id}`)
      return
    }
    const memory = await this.#inMemory()
    const folder = await open(memory, 'r')
    const server = createServer({ allowHalfOpen: true }, (connection) => {
      this.#connections.add(connection)
      connection.once('close', () => this.#connections.delete(connection))
      connection.on('error', () => connection.destroy())
      // The command's program sees its connection end, and says so in its own words.
      loans.forwardAgent(mount.id, connection).catch(() => connection.destroy())
    })
    this.#agents.push({ server, folder })
    // Through the descriptor: a socket's path holds 107 bytes, and a build's folders have long names.
    await new Promise<void>((done, fail) => server.on('error', fail).listen(`/proc/self/fd/${folder.fd}/agent-${index}`, done))
    const path = join(memory, `agent-${index}`)
    await own(path, mount)
    this.list.push(bindMount(path, absolute(mount.target), false))
    if (!this.env.some((each) => each.startsWith('SSH_AUTH_SOCK='))) this.env.push(`SSH_AUTH_SOCK=${absolute(mount.target)}`)
  }

  async #inMemory(): Promise<string> {
    if (this.#memory !== undefined) return this.#memory
    const target = join(this.#folder, 'memory')
    await mkdir(target, { mode: 0o711 })
    await this.#shared.options.mounts.mount({ source: 'tmpfs', target, type: 'tmpfs', flags: ['nosuid', 'nodev', 'noexec'], data: 'mode=711,size=16m' })
    this.#memory = target
    return target
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // The command is gone; the client's side may be silent for ever.
    for (const connection of this.#connections) connection.destroy()
    for (const { server, folder } of this.#agents) {
      await new Promise<void>((done) => server.close(() => done()))
      await folder.close()
    }
    if (this.#memory !== undefined) await this.#shared.options.mounts.unmount(this.#memory)
  }
}

/** Relative targets are below the root. */
function absolute(target: string): string {
  return posix.resolve('/', target)
}

async function own(path: string, { uid, gid, mode }: { readonly uid: number; readonly gid: number; readonly mode: number }): Promise<void> {
  await chown(path, uid, gid)
  await chmod(path, mode)
}

function bindMount(source: string, target: string, readonly: boolean): ResolvedMount {
  return { type: 'bind', source, target, readonly, propagation: 'rprivate' }
}
