/** What a build takes from elsewhere: each address is asked once for all its steps, and fetched only when its content is needed. */
import { createHash } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Fault } from '#base/fault.ts'
import { Transport } from '#oci/client/transport.ts'
import type { BuildRequest } from '../../http/backend.ts'
import { AgentSocket } from '../agent-socket.ts'
import type { BuilderOptions } from '../builder.ts'
import { cacheKey, type BuildCache } from '../cache.ts'
import type { Spool } from '../spool.ts'
import { contentDigest, emptyFolder, sha256Of, toBytePath, type Selected, type TreeEntry } from '../tree.ts'
import type { Vertex } from '../vertices.ts'
import { Git } from './git-fetch.ts'
import type { GitReference } from './git-reference.ts'
import { download, maxDownloadBytes, type Download } from './url-fetch.ts'

export interface RemoteOptions {
  /** The build's own folder. */
  readonly folder: string
  readonly request: BuildRequest
  readonly options: Pick<BuilderOptions, 'processes'>
  readonly spool: Spool
  readonly cache: BuildCache
  readonly signal: AbortSignal
}

/** A file or tree from elsewhere: its digest may be known without fetching it. */
export interface RemoteContent {
  /** Of the content, for cache keys. */
  readonly digest: string
  /** By which others know it: a repository's commit, a file's sha256 in hex. Undefined: the server did not tell, and nothing was fetched. */
  readonly identity: string | undefined
  load(): Promise<Selected>
}

export class RemoteSources implements AsyncDisposable {
  readonly #build: RemoteOptions
  readonly #transport = new Transport({ insecure: false })
  readonly #known = new Map<string, Promise<RemoteContent>>()
  #folders = 0
  #agent: Promise<AgentSocket | undefined> | undefined

  constructor(build: RemoteOptions) {
    this.#build = build
  }

  /** A file. `checksum`: `sha256:…`, `sha384:…` or `sha512:…` that it must have; a wrong one is `invalidArgument`. */
  url(source: string, { checksum, vertex }: { readonly checksum?: string; readonly vertex: Vertex }): Promise<RemoteContent> {
    return this.#once(`${checksum ?? ''} ${source}`, () => this.#url(source, checksum, vertex))
  }

  /** A tree, without its `.git` unless it is to be kept. */
  git(reference: GitReference, { keepGitDir, vertex }: { readonly keepGitDir: boolean; readonly vertex: Vertex }): Promise<RemoteContent> {
    return this.#once(cacheKey(reference, keepGitDir), () => this.#git(reference, keepGitDir, vertex))
  }

  #once(key: string, ask: () => Promise<RemoteContent>): Promise<RemoteContent> {
    const known = this.#known.get(key) ?? ask()
    this.#known.set(key, known)
    return known
  }

  async #url(source: string, checksum: string | undefined, vertex: Vertex): Promise<RemoteContent> {
    const { cache, request } = this.#build
    let loaded: Promise<Selected> | undefined
    const load = (): Promise<Selected> => (loaded ??= this.#download(source, checksum, vertex))
    const pinned = checksum === undefined ? undefined : cacheKey('url', source, checksum)
    const known = pinned === undefined || request.noCache === true ? undefined : cache.get(pinned, 'content')
    if (known !== undefined) return { digest: known.digest, identity: cache.get(identityKey(known.digest), 'content')?.digest, load }
    // A checksum is verified on the content itself, whatever the server says of its version.
    const version = pinned === undefined ? await this.#knownVersion(source, vertex, (file) => {
      loaded = Promise.resolve(file)
    }) : undefined
    const digest = version ?? digestOfFile(await load())
    if (pinned !== undefined) await cache.put(pinned, { kind: 'content', digest })
    const file = (await loaded)?.entries[0]
    const sha256 = file === undefined ? undefined : sha256Of(file)
    if (sha256 !== undefined) await cache.put(identityKey(digest), { kind: 'content', digest: sha256 })
    return { digest, identity: sha256 ?? cache.get(identityKey(digest), 'content')?.digest, load }
  }

  /** Asks the server; fetches unless its version of the file was seen before. Answers the digest. */
  async #knownVersion(source: string, vertex: Vertex, onLoaded: (file: Selected) => void): Promise<string | undefined> {
    const { cache, request } = this.#build
    const file = await download(this.#transport, source, { signal: this.#build.signal, onProgress: (current, total) => progress(vertex, source, current, total) })
    const memo = file.version === undefined ? undefined : cacheKey('url version', source, file.version)
    const known = memo === undefined || request.noCache === true ? undefined : cache.get(memo, 'content')?.digest
    if (known !== undefined) {
      file.close()
      return known
    }
    const selected = await this.#spooled(file)
    onLoaded(selected)
    const digest = digestOfFile(selected)
    if (memo !== undefined) await cache.put(memo, { kind: 'content', digest })
    return digest
  }

  async #download(source: string, checksum: string | undefined, vertex: Vertex): Promise<Selected> {
    const selected = await this.#spooled(await download(this.#transport, source, { signal: this.#build.signal, onProgress: (current, total) => progress(vertex, source, current, total) }))
    if (checksum !== undefined) await verify(selected, source, checksum, this.#build.spool)
    return selected
  }

  /** As dockerd has it: root's, mode 600, of the server's time. */
  async #spooled({ content, modifiedNs, name, totalBytes }: Download): Promise<Selected> {
    const spooled = await this.#build.spool.addStream(content, totalBytes ?? maxDownloadBytes)
    return { name: toBytePath(name), entries: [{ ...emptyFolder, type: 'file', mode: 0o600, modifiedNs, ...spooled }] }
  }

  async #git(reference: GitReference, keepGitDir: boolean, vertex: Vertex): Promise<RemoteContent> {
    const { cache, options, signal, request } = this.#build
    const git = new Git(reference, {
      processes: options.processes,
      authorization: await this.#authorization(reference),
      agentSocket: await this.#agentFor(reference),
      signal,
      onOutput: (text) => vertex.output(Buffer.from(text), 'stderr'),
    })
    let loaded: Promise<Selected> | undefined
    const load = (): Promise<Selected> => (loaded ??= this.#checkOut(git, reference, keepGitDir))
    const resolved = await git.resolve()
    const memo = resolved === undefined ? undefined : cacheKey('git', reference.remote, resolved.commit, reference.folder, keepGitDir, reference.submodules)
    const known = memo === undefined || request.noCache === true ? undefined : cache.get(memo, 'content')?.digest
    if (known !== undefined) return { digest: known, identity: resolved?.commit, load }
    const digest = contentDigest([await load()], { withOwners: false })
    if (memo !== undefined) await cache.put(memo, { kind: 'content', digest })
    return { digest, identity: resolved?.commit, load }
  }

  /** As BuildKit's clients lend it: secrets `GIT_AUTH_HEADER` and `GIT_AUTH_TOKEN`, each also with `.HOST`. */
  async #authorization({ remote }: GitReference): Promise<string | undefined> {
    const { loans } = this.#build.request
    if (loans === undefined || !/^https?:/.test(remote)) return undefined
    const { host } = new URL(remote)
    for (const id of [`GIT_AUTH_HEADER.${host}`, 'GIT_AUTH_HEADER']) {
      const header = await loans.secret(id)
      if (header !== undefined) return header.toString('utf8').trim()
    }
    for (const id of [`GIT_AUTH_TOKEN.${host}`, 'GIT_AUTH_TOKEN']) {
      const token = await loans.secret(id)
      if (token !== undefined) return `basic ${Buffer.from(`x-access-token:${token.toString('utf8').trim()}`).toString('base64')}`
    }
    return undefined
  }

  /** For repositories over ssh, the client's agent `default`, as in BuildKit. */
  async #agentFor({ remote }: GitReference): Promise<string | undefined> {
    const { request: { loans }, folder } = this.#build
    if (loans === undefined || /^(https?|git):/.test(remote)) return undefined
    this.#agent ??= loans.hasAgent('default').then((isThere) => (isThere ? AgentSocket.open(loans, 'default', { folder, name: 'git-agent' }) : undefined))
    return (await this.#agent)?.path
  }

  async #checkOut(git: Git, { folder: inside, address }: GitReference, keepGitDir: boolean): Promise<Selected> {
    const { folder, spool, signal } = this.#build
    this.#folders += 1
    const target = join(folder, `git-${this.#folders}`)
    try {
      const { root } = await git.checkOut(target, keepGitDir)
      const [selected] = await spool.addFromRoot(root, [inside === '' ? '/' : inside], { signal })
      const found = selected?.[0]
      if (found?.entries[0]?.type !== 'directory') throw new Fault('invalidArgument', `${address} has no folder ${inside}`)
      return { name: '', entries: found.entries }
    } finally {
      await rm(target, { recursive: true, force: true })
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#transport[Symbol.dispose]()
    const [agent] = await Promise.allSettled([this.#agent])
    if (agent.status === 'fulfilled') await agent.value?.[Symbol.asyncDispose]()
  }
}

function identityKey(digest: string): string {
  return cacheKey('sha256 of', digest)
}

function progress(vertex: Vertex, source: string, currentBytes: number, totalBytes: number | undefined): void {
  vertex.progress(source, 'downloading', { currentBytes, ...(totalBytes === undefined ? {} : { totalBytes }) })
}

/** Unlike a context's file, a fetched one counts with its time, as in BuildKit. */
function digestOfFile(selected: Selected): string {
  return `${contentDigest([selected], { withOwners: false })} ${selected.entries[0]?.modifiedNs ?? 0n}`
}

async function verify({ entries }: Selected, source: string, checksum: string, spool: Spool): Promise<void> {
  const [algorithm = '', expected = ''] = checksum.split(':')
  const [file] = entries
  if (file === undefined) throw new Fault('internal', `${source} was not fetched`)
  const found = algorithm === 'sha256' ? sha256Of(file) : await hashOf(spool, file, algorithm)
  if (found !== expected) throw new Fault('invalidArgument', `digest mismatch ${algorithm}:${found}: ${checksum} was expected of ${source}`)
}

async function hashOf(spool: Spool, file: TreeEntry, algorithm: string): Promise<string> {
  const hash = createHash(algorithm)
  if (file.sizeBytes > 0) for await (const chunk of spool.content(file)) hash.update(chunk)
  return hash.digest('hex')
}
