/** The trees that a build is given: its main context, and named ones, which are read only when a needed step asks for them. */
import { Readable } from 'node:stream'
import { Fault } from '#base/fault.ts'
import { ignoredPaths, withoutIgnored } from './ignore.ts'
import type { NamedContext } from '../contract/builds.ts'
import type { BuildRequest } from '../http/backend.ts'
import type { BuilderOptions } from './builder.ts'
import { compressionOf, decompressed, expand, looksLikeTar } from './decompress.ts'
import { maxDockerfileBytes } from './dockerfile/lines.ts'
import { parseGitReference } from './remote/git-reference.ts'
import type { RemoteSources } from './remote/remote-sources.ts'
import type { Spool } from './spool.ts'
import { FileTree, fromBytePath, toBytePath, type Selected } from './tree.ts'
import type { Vertex, Vertices } from './vertices.ts'

export interface ContextsOptions {
  readonly request: BuildRequest
  readonly options: Pick<BuilderOptions, 'processes'>
  readonly spool: Spool
  readonly remote: RemoteSources
  readonly vertices: Vertices
  readonly signal: AbortSignal
}

export interface MainContext {
  readonly tree: FileTree
  readonly dockerfile: string
  /** What its ignore file says. */
  readonly ignore: string
}

/** Files above this size are no `.dockerignore`. */
const maxIgnoreBytes = 1024 * 1024

export class Contexts {
  readonly #build: ContextsOptions
  readonly #trees = new Map<string, Promise<FileTree>>()

  constructor(build: ContextsOptions) {
    this.#build = build
  }

  async main(): Promise<MainContext> {
    const { request, vertices, spool } = this.#build
    const { context, dockerfile: path, definition } = request
    const loaded = await vertices.during('[internal] load build context', (vertex) => (context.kind === 'url' ? this.#fetched(context.url, vertex) : this.#archive(context.tar)))
    const text = definition ?? (loaded.kind === 'file' ? await spool.text(loaded.file.entries[0] ?? missing(path), maxDockerfileBytes) : undefined)
    const everything = loaded.kind === 'file' ? new FileTree([]) : loaded.tree
    const dockerfile = text ?? (await vertices.during(`[internal] load build definition from ${path}`, () => readDockerfile(everything, spool, path)))
    if (text !== undefined) return { tree: everything, dockerfile, ignore: '' }
    const ignore = await readIgnoreFile(everything, spool, path)
    return { tree: withoutIgnored(everything, ignoredPaths(ignore)), dockerfile, ignore }
  }

  /** What `FROM name` or `from=name` means beside stages and images; undefined: nothing else. */
  named(name: string, platform?: string): NamedContext | undefined {
    const contexts = this.#build.request.namedContexts
    const key = contextKey(name)
    return (platform === undefined ? undefined : contexts?.get(`${key}::${platform}`)) ?? contexts?.get(key)
  }

  /** The files of a named context that is no image. */
  tree(name: string): Promise<FileTree> {
    const key = contextKey(name)
    const known = this.#trees.get(key) ?? this.#build.vertices.during(`[context ${name}] load from client`, (vertex) => this.#namedTree(name, vertex))
    this.#trees.set(key, known)
    return known
  }

  async #namedTree(name: string, vertex: Vertex): Promise<FileTree> {
    const context = this.named(name)
    switch (context?.kind) {
      case 'folder':
        return (await this.#archive(Readable.from(context.tar(this.#build.signal), { objectMode: false }))).tree
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

  async #archive(tar: Readable): Promise<{ readonly kind: 'tree'; readonly tree: FileTree }> {
    const { spool, signal, options } = this.#build
    return { kind: 'tree', tree: await spool.addArchive(await decompressed(tar, 'the build context', options.processes), signal) }
  }

  /** A repository, an archive, or a file: a Dockerfile's text where the context is the main one. */
  async #fetched(url: string, vertex: Vertex): Promise<{ readonly kind: 'tree'; readonly tree: FileTree } | { readonly kind: 'file'; readonly file: Selected }> {
    const { remote, spool, options, signal } = this.#build
    const repository = parseGitReference(url, { isContext: true })
    if (repository !== undefined) {
      const { entries } = await (await remote.git(repository, { keepGitDir: repository.keepGitDir ?? false, vertex })).load()
      return { kind: 'tree', tree: new FileTree(entries.slice(1)) }
    }
    if (!/^https?:\/\//i.test(url)) throw new Fault('invalidArgument', `the build context ${url} is neither an address of HTTP nor a git repository`)
    const file = await (await remote.url(url, { vertex })).load()
    const entry = file.entries[0] ?? missing(url)
    const head = await spool.firstBytes(entry, 512)
    const compression = compressionOf(head)
    if (compression === 'none' && !looksLikeTar(head)) return { kind: 'file', file }
    return { kind: 'tree', tree: await spool.addArchive(await expand(spool.content(entry), compression, `the build context ${url}`, options.processes), signal) }
  }
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
