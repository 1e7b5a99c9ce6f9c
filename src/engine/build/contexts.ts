/** The trees that a build is given: its main context, and named ones, which are read only when a needed step asks for them. */
import { Readable } from 'node:stream'
import { Fault } from '#base/fault.ts'
import { ignoredPaths, withoutIgnored } from './ignore.ts'
import type { BuildMaterial, FolderTar, IsKept, NamedContext } from '../contract/builds.ts'
import type { BuildRequest } from '../http/backend.ts'
import type { BuilderOptions } from './builder.ts'
import { compressionOf, decompressed, expand, looksLikeTar } from './decompress.ts'
import type { TakenContext } from './kept-contexts.ts'
import { maxDockerfileBytes } from './dockerfile/lines.ts'
import { isCovered, type Paths, type PlannedPaths } from './planned-paths.ts'
import { parseGitReference } from './remote/git-reference.ts'
import type { RemoteSources } from './remote/remote-sources.ts'
import type { Spool } from './spool.ts'
import { contentOf, FileTree, fromBytePath, toBytePath, type Selected } from './tree.ts'
import type { Vertex, Vertices } from './vertices.ts'

/** Headers and contents of small files, which whoever reads takes together. */
const entriesAhead = 256

export interface ContextsOptions {
  readonly request: BuildRequest
  readonly options: Pick<BuilderOptions, 'processes'>
  readonly spool: Spool
  readonly remote: RemoteSources
  readonly vertices: Vertices
  readonly signal: AbortSignal
  /** What is known of the main context's folder. */
  readonly kept?: TakenContext
}

export interface MainContext {
  /** The files, at least those that are named. */
  readonly tree: (paths: readonly string[]) => Promise<FileTree>
  readonly dockerfile: string
  /** What its ignore file says. */
  readonly ignore: string
}

/** Files above this size are no `.dockerignore`. */
const maxIgnoreBytes = 1024 * 1024

export class Contexts {
  readonly #build: ContextsOptions
  /** Addresses that contexts were fetched from. */
  readonly materials: BuildMaterial[] = []
  readonly #trees = new Map<string, LazyFolder>()
  #planned: PlannedPaths | undefined

  constructor(build: ContextsOptions) {
    this.#build = build
  }

  /** Of folders only what steps name is asked for. */
  expect(planned: PlannedPaths): void {
    this.#planned = planned
  }

  async main(): Promise<MainContext> {
    const { request, vertices, spool } = this.#build
    const { context, dockerfile: path, definition } = request
    const whole = '[internal] load build context'
    if (context.kind === 'folder') {
      if (definition === undefined) throw new Fault('internal', 'a folder is the context, and the Dockerfile did not come with it')
      const folder = new LazyFolder((paths) => vertices.during(whole, async () => this.#mainFolder(context.tar, paths)), () => this.#planned?.of())
      return { tree: (paths) => folder.tree(paths), dockerfile: definition, ignore: context.ignore }
    }
    const loaded = await vertices.during(whole, (vertex) => (context.kind === 'url' ? this.#fetched(context.url, vertex) : this.#archive(context.tar)))
    const text = definition ?? (loaded.kind === 'file' ? await spool.text(loaded.file.entries[0] ?? missing(path), maxDockerfileBytes) : undefined)
    const everything = loaded.kind === 'file' ? new FileTree([]) : loaded.tree
    const dockerfile = text ?? (await vertices.during(`[internal] load build definition from ${path}`, () => readDockerfile(everything, spool, path)))
    const ignore = text === undefined ? await readIgnoreFile(everything, spool, path) : ''
    const tree = withoutIgnored(everything, ignoredPaths(ignore))
    return { tree: async () => tree, dockerfile, ignore }
  }

  /** What `FROM name` or `from=name` means beside stages and images; undefined: nothing else. */
  named(name: string, platform?: string): NamedContext | undefined {
    const contexts = this.#build.request.namedContexts
    const key = contextKey(name)
    return (platform === undefined ? undefined : contexts?.get(`${key}::${platform}`)) ?? contexts?.get(key)
  }

  /** The files of a named context that is no image, at least those that are named. `platform`: as of `named`. */
  tree(name: string, paths: readonly string[], platform: string): Promise<FileTree> {
    const context = this.named(name, platform)
    const key = context === this.named(name) ? contextKey(name) : `${contextKey(name)}::${platform}`
    const known = this.#trees.get(key) ?? new LazyFolder((some) => this.#build.vertices.during(`[context ${name}] load from client`, (vertex) => this.#namedTree(name, context, vertex, some)), () => this.#planned?.of(name))
    this.#trees.set(key, known)
    return known.tree(paths)
  }

  async #namedTree(name: string, context: NamedContext | undefined, vertex: Vertex, paths: Paths): Promise<FileTree> {
    switch (context?.kind) {
      case 'folder':
        return this.#folder(context.tar, paths)
      case 'url': {
        const fetched = await this.#fetched(context.url, vertex)
        return fetched.kind === 'tree' ? fetched.tree : new FileTree(fetched.file.entries.map((entry) => ({ ...entry, path: fetched.file.name })))
      }
      case 'layout':
        throw new Fault('unimplemented', `the build context ${name} is an OCI layout (${context.reference}): that is not supported; push the image to a registry, or load it, and use docker-image://`)
      default:
        throw new Fault('internal', `${name} is no build context of files`)
    }
  }

  /** Of a folder that is known only that is sent which has changed. */
  async #mainFolder(tar: FolderTar, paths: Paths): Promise<FileTree> {
    const { kept, spool, signal } = this.#build
    if (kept === undefined) return this.#folder(tar, paths)
    const known = kept.files
    const isKept: IsKept = ({ path, sizeBytes, modifiedNs }) => {
      const file = known.get(toBytePath(path))
      return file?.sizeBytes === sizeBytes && file.modifiedNs === modifiedNs
    }
    const tree = await spool.addArchive(Readable.from(tar(paths, signal, isKept), { highWaterMark: entriesAhead }), signal, known)
    kept.files = new Map([...(paths === undefined ? [] : kept.files), ...tree.walk('').filter(({ type }) => type === 'file').map((entry) => [entry.path, contentOf(entry)] as const)])
    return tree
  }

  async #folder(tar: FolderTar, paths: Paths): Promise<FileTree> {
    return (await this.#archive(Readable.from(tar(paths, this.#build.signal), { objectMode: false }))).tree
  }

  async #archive(tar: Readable): Promise<{ readonly kind: 'tree'; readonly tree: FileTree }> {
    const { spool, signal, options } = this.#build
    return { kind: 'tree', tree: await spool.addArchive(await decompressed(tar, 'the build context', options.processes), signal) }
  }

  /** A repository, an archive, or a file: a Dockerfile's text where the context is the main one. */
  async #fetched(url: string, vertex: Vertex): Promise<{ readonly kind: 'tree'; readonly tree: FileTree } | { readonly kind: 'file'; readonly file: Selected }> {
    const { remote, spool, options, signal } = this.#build
    const repository = parseGitReference(url, { isContext: true })
    if (repository !== undefined) {
      const checkout = await remote.git(repository, { keepGitDir: repository.keepGitDir ?? false, vertex })
      this.materials.push({ kind: 'git', url, commit: checkout.identity, isContext: url === mainUrl(this.#build.request) })
      const { entries } = await checkout.load()
      return { kind: 'tree', tree: new FileTree(entries.slice(1)) }
    }
    if (!/^https?:\/\//i.test(url)) throw new Fault('invalidArgument', `the build context ${url} is neither an address of HTTP nor a git repository`)
    const fetched = await remote.url(url, { vertex })
    this.materials.push({ kind: 'url', url, sha256: fetched.identity, isContext: url === mainUrl(this.#build.request) })
    const file = await fetched.load()
    const entry = file.entries[0] ?? missing(url)
    const head = await spool.firstBytes(entry, 512)
    const compression = compressionOf(head)
    if (compression === 'none' && !looksLikeTar(head)) return { kind: 'file', file }
    return { kind: 'tree', tree: await spool.addArchive(await expand(spool.content(entry), compression, `the build context ${url}`, options.processes), signal) }
  }
}

/** A folder of which first only that is loaded which steps are known to name; all of it where one needs more. */
class LazyFolder {
  readonly #load: (paths: Paths) => Promise<FileTree>
  readonly #planned: () => Paths
  #some: Promise<FileTree> | undefined
  #all: Promise<FileTree> | undefined

  constructor(load: (paths: Paths) => Promise<FileTree>, planned: () => Paths) {
    this.#load = load
    this.#planned = planned
  }

  tree(paths: readonly string[]): Promise<FileTree> {
    const planned = this.#planned()
    if (this.#all !== undefined || planned === undefined || !isCovered(planned, paths)) return (this.#all ??= this.#load(undefined))
    return (this.#some ??= this.#load(planned))
  }
}

function mainUrl({ context }: BuildRequest): string | undefined {
  return context.kind === 'url' ? context.url : undefined
}

function missing(path: string): never {
  throw new Fault('internal', `${path} was fetched and is not there`)
}

/** Images' names in the form in which people write them: `docker.io/library/alpine:latest` is `alpine`. */
export function contextKey(name: string): string {
  return name.replace(/^docker\.io\/(library\/)?/, '').replace(/:latest$/, '').toLowerCase()
}

async function readDockerfile(tree: FileTree, spool: Spool, path: string): Promise<string> {
  const entry = tree.resolve(toBytePath(path))
  if (entry === undefined) throw new Fault('invalidArgument', `Cannot locate specified Dockerfile: ${path}; the build context holds ${describeRoot(tree)}`)
  if (entry.type !== 'file') throw new Fault('invalidArgument', `the specified Dockerfile ${path} is no file`)
  if (entry.sizeBytes === 0) throw new Fault('invalidArgument', `the Dockerfile (${path}) cannot be empty`)
  return spool.text(entry, maxDockerfileBytes)
}

function describeRoot(tree: FileTree): string {
  const names = tree.childrenOf('').map(fromBytePath)
  if (names.length === 0) return 'no files'
  return names.length > 5 ? `${names.slice(0, 5).join(', ')} and ${names.length - 5} more` : names.join(', ')
}

/** One beside the Dockerfile (`Dockerfile.dockerignore`) wins over the context's own. */
async function readIgnoreFile(tree: FileTree, spool: Spool, dockerfile: string): Promise<string> {
  for (const path of [`${dockerfile}.dockerignore`, '.dockerignore']) {
    const entry = tree.resolve(toBytePath(path))
    if (entry?.type === 'file') return entry.sizeBytes === 0 ? '' : spool.text(entry, maxIgnoreBytes)
  }
  return ''
}
