/** What `RUN --mount` puts into the command's container, and takes away after it (docs.docker.com/reference/dockerfile, "RUN --mount"). */
import { existsSync } from 'node:fs'
import { chmod, chown, mkdir, writeFile } from 'node:fs/promises'
import { join, posix } from 'node:path'
import type { ChainId } from '../contract/images.ts'
import type { ResolvedMount } from '../contract/containers.ts'
import { resolveInRoot } from '../containers/identity.ts'
import { PlainBinds } from '../containers/plain-binds.ts'
import { ownerOf, type Remap } from '../userns/remap.ts'
import { AgentSocket } from './agent-socket.ts'
import type { BuildShared } from './build-shared.ts'
import type { CacheMount } from './cache-mounts.ts'
import { rulesOf } from './dialect.ts'
import { syntaxFault } from './dockerfile/fault.ts'
import type { Instruction, RunInstruction } from './dockerfile/instructions.ts'
import { parseMount, type RunMount } from './dockerfile/mounts.ts'
import type { Content, StageTools } from './stage-tools.ts'
import { contentDigest, type FileTree } from './tree.ts'

export type CommandMount = ResolvedMount & { readonly options?: readonly string[] }

type RunAt = RunInstruction & Instruction

/** A RUN's mounts, its variables replaced. */
export function mountsOf(instruction: RunAt, expand: (word: string) => string): readonly RunMount[] {
  return instruction.mounts.map(({ text }, index) => parseMount(text, instruction, { index, expand }))
}

/** What of the mounts takes part in the cache key: contents of bind mounts, never those of caches, secrets and agents. */
export async function mountIdentities(mounts: readonly RunMount[], instruction: RunAt, { shared, sources }: StageTools): Promise<readonly unknown[]> {
  return Promise.all(
    mounts.map(async (mount) => {
      if (mount.type !== 'bind') return mount
      const content = await contentOf(mount, instruction, { shared, sources })
      return content.kind === 'tree' ? { ...mount, digest: contentDigest(content.tree.select(mount.source), { withOwners: rulesOf(shared.request).contextsKeepOwners }) } : { ...mount, chainId: content.chainId ?? '' }
    }),
  )
}

async function contentOf({ from, source }: { readonly from?: string; readonly source: string }, at: RunAt, { shared, sources }: Pick<StageTools, 'shared' | 'sources'>): Promise<Content> {
  return from === undefined ? { kind: 'tree', tree: await shared.main.tree([source]) } : sources.contentOf(from, at, [source])
}

export interface RunMountsOptions {
  readonly instruction: RunAt
  readonly mounts: readonly RunMount[]
  /** The command's own folder, empty. */
  readonly folder: string
  /** The command. */
  readonly argv: readonly string[]
  /** What relative targets are relative to. */
  readonly workingDir: string
  readonly tools: StageTools
}

export class RunMounts implements AsyncDisposable {
  readonly list: CommandMount[] = []
  readonly env: string[] = []
  readonly #options: RunMountsOptions
  readonly #shared: BuildShared
  /** A folder in memory: what is secret never reaches the disk. */
  #memory: string | undefined
  readonly #agents: AgentSocket[] = []
  readonly #releases: (() => void)[] = []
  /** For what lies on the disk, where users are remapped. */
  readonly #binds: PlainBinds
  /** Snapshots for those who may write into what they are lent. */
  readonly #drafts: { readonly key: string; readonly target: string }[] = []

  private constructor(options: RunMountsOptions) {
    this.#options = options
    this.#shared = options.tools.shared
    this.#binds = new PlainBinds({ mounts: this.#shared.options.mounts, root: join(options.folder, 'binds') })
  }

  static async open(options: RunMountsOptions): Promise<RunMounts> {
    const mounts = new RunMounts(options)
    try {
      // Caches first and in one order for all, so that two commands that lock two caches never wait for each other.
      const indexed = options.mounts.map((mount, index) => ({ mount, index }))
      const caches = indexed.flatMap(({ mount, index }) => (mount.type === 'cache' ? [{ mount, index }] : [])).sort((a, b) => (a.mount.id < b.mount.id ? -1 : 1))
      const folders = new Map<number, string>()
      for (const { mount, index } of caches) folders.set(index, await mounts.#cacheFolder(mount))
      for (const { mount, index } of indexed) await mounts.#add(mount, index, folders.get(index))
      return mounts
    } catch (error) {
      await mounts[Symbol.asyncDispose]()
      throw error
    }
  }

  /** A read-only file that anybody may execute. */
  async addFile(target: string, content: string): Promise<void> {
    const path = join(this.#options.folder, `file-${this.list.length}`)
    await writeFile(path, content, { mode: 0o755 })
    this.list.push(bindMount(await this.#shifted(path), target, true))
  }

  /** The path to bind instead. */
  async #shifted(source: string): Promise<string> {
    const { remap } = this.#shared.options
    return remap === undefined ? source : this.#binds.openShifted('run', source, remap.mountNamespace)
  }

  async #add(mount: RunMount, index: number, cacheFolder: string | undefined): Promise<void> {
    switch (mount.type) {
      case 'tmpfs': {
        const options = mount.sizeBytes === undefined || mount.sizeBytes === 0 ? [] : [`size=${mount.sizeBytes}`]
        this.list.push({ type: 'tmpfs', source: '', target: this.#target(mount.target), readonly: mount.readonly, propagation: '', options })
        return
      }
      case 'cache':
        if (cacheFolder !== undefined) this.list.push(bindMount(await this.#shifted(cacheFolder), this.#target(mount.target), mount.readonly))
        return
      case 'bind':
        this.list.push(bindMount(await this.#bindSource(mount, index), this.#target(mount.target), !mount.writable))
        return
      case 'secret':
        return this.#addSecret(mount, index)
      case 'ssh':
        return this.#addAgent(mount, index)
    }
  }

  /** Relative to the working folder, which is absolute. */
  #target(target: string): string {
    const path = posix.resolve('/', this.#options.workingDir, target)
    if (path === '/') throw syntaxFault(this.#options.instruction, `RUN --mount: invalid mount target "${target}"`)
    return path
  }

  async #cacheFolder(mount: CacheMount): Promise<string> {
    const cache = await this.#shared.cacheMounts.acquire(mount, `exec ${this.#options.argv.join(' ')}`)
    this.#releases.push(cache.release)
    if (!cache.isNew || mount.from === undefined) return cache.path
    const content = await contentOf(mount, this.#options.instruction, this.#options.tools)
    const selection = content.kind === 'tree' ? content.tree.select(mount.source) : content.chainId === undefined ? [] : ((await this.#shared.spool.addFromRoot(await this.#options.tools.sources.view(content.chainId), [mount.source], { signal: this.#shared.signal }))[0] ?? [])
    const keepOwners = content.kind === 'layers' || rulesOf(this.#shared.request).contextsKeepOwners
    await this.#shared.spool.place(cache.path, { selection, destination: '/', isFolder: true, keepOwners }, { signal: this.#shared.signal })
    return cache.path
  }

  async #bindSource(mount: Extract<RunMount, { type: 'bind' }>, index: number): Promise<string> {
    const { instruction, tools, folder } = this.#options
    const content = await contentOf(mount, instruction, tools)
    if (content.kind === 'tree') return this.#placed(content.tree, mount, join(folder, `mount-${index}`))
    const { chainId } = content
    if (chainId === undefined && !mount.writable) throw syntaxFault(instruction, `RUN --mount: ${mount.from ?? ''} has no files`)
    const root = mount.writable || chainId === undefined ? await this.#draft(chainId, index) : await tools.sources.view(chainId, { shifted: this.#shared.options.remap !== undefined })
    const path = await resolveInRoot(root, mount.source)
    if (!existsSync(path)) throw syntaxFault(instruction, `RUN --mount: ${mount.source} is not in ${mount.from ?? ''}`)
    return path
  }

  /** Files of a tree, for this command alone: it may write into them where it likes. */
  async #placed(tree: FileTree, mount: Extract<RunMount, { type: 'bind' }>, folder: string): Promise<string> {
    const { spool, signal } = this.#shared
    const selection = tree.select(mount.source)
    if (selection.length === 0) throw syntaxFault(this.#options.instruction, `RUN --mount: ${mount.source} is not in ${mount.from ?? 'the build context'}`)
    await mkdir(folder)
    const isFile = selection[0]?.entries[0]?.type === 'file'
    await spool.place(folder, { selection, destination: isFile ? '/content' : '/', isFolder: false, keepOwners: rulesOf(this.#shared.request).contextsKeepOwners }, { signal })
    return this.#shifted(isFile ? join(folder, 'content') : folder)
  }

  /** A writable layer over what is lent; it goes with the command. */
  async #draft(chainId: ChainId | undefined, index: number): Promise<string> {
    const { snapshots } = this.#shared.options
    const target = join(this.#options.folder, `draft-${index}`)
    const key = `build-${this.#shared.id}-draft-${posix.basename(this.#options.folder)}-${index}`
    await mkdir(target)
    await snapshots.prepare(key, chainId)
    this.#drafts.push({ key, target })
    await snapshots.mount(key, target, { volatile: true, shifted: this.#shared.options.remap !== undefined })
    return target
  }

  async #addSecret(mount: Extract<RunMount, { type: 'secret' }>, index: number): Promise<void> {
    const content = await this.#shared.request.loans?.secret(mount.id)
    if (content === undefined) {
      if (mount.required) throw syntaxFault(this.#options.instruction, `secret ${mount.id}: not found`)
      return
    }
    if (mount.env !== undefined) this.env.push(`${mount.env}=${content.toString('utf8')}`)
    if (mount.target === undefined) return
    const path = join(await this.#inMemory(), `secret-${index}`)
    await writeFile(path, content, { mode: 0o600 })
    await own(path, mount, this.#shared.options.remap)
    this.list.push(bindMount(path, this.#target(mount.target), true))
  }

  async #addAgent(mount: Extract<RunMount, { type: 'ssh' }>, index: number): Promise<void> {
    const { loans } = this.#shared.request
    if (loans === undefined || !(await loans.hasAgent(mount.id))) {
      if (mount.required) throw syntaxFault(this.#options.instruction, `unset ssh forward key ${mount.id}`)
      return
    }
    const memory = await this.#inMemory()
    const agent = await AgentSocket.open(loans, mount.id, { folder: memory, name: `agent-${index}` })
    this.#agents.push(agent)
    await own(agent.path, mount, this.#shared.options.remap)
    this.list.push(bindMount(agent.path, this.#target(mount.target), false))
    if (!this.env.some((each) => each.startsWith('SSH_AUTH_SOCK='))) this.env.push(`SSH_AUTH_SOCK=${this.#target(mount.target)}`)
  }

  async #inMemory(): Promise<string> {
    if (this.#memory !== undefined) return this.#memory
    const target = join(this.#options.folder, 'memory')
    await mkdir(target, { mode: 0o711 })
    await this.#shared.options.mounts.mount({ source: 'tmpfs', target, type: 'tmpfs', flags: ['nosuid', 'nodev', 'noexec'], data: 'mode=711,size=16m' })
    this.#memory = target
    return target
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const agent of this.#agents) await agent[Symbol.asyncDispose]()
    if (this.#memory !== undefined) await this.#shared.options.mounts.unmount(this.#memory)
    await this.#binds.close('run')
    for (const { key, target } of this.#drafts) {
      await this.#shared.options.snapshots.unmount(target)
      await this.#shared.options.snapshots.remove(key)
    }
    for (const release of this.#releases) release()
  }
}

async function own(path: string, { uid, gid, mode }: { readonly uid: number; readonly gid: number; readonly mode: number }, remap: Remap | undefined): Promise<void> {
  const owner = remap === undefined ? { uid, gid } : ownerOf(remap.mapping, { uid, gid })
  await chown(path, owner.uid, owner.gid)
  await chmod(path, mode)
}

function bindMount(source: string, target: string, readonly: boolean): ResolvedMount {
  return { type: 'bind', source, target, readonly, propagation: 'rprivate' }
}
