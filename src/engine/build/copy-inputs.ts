/**
 * What a COPY or ADD takes: a digest for the cache key, and the files themselves only when the cache has no answer. The digest of
 * files in another stage or image is remembered by its layers, so that a cached build mounts nothing.
 */
import { isFault, type Fault } from '#base/fault.ts'
import type { ChainId } from '../contract/images.ts'
import type { BuildShared } from './build-shared.ts'
import { cacheKey } from './cache.ts'
import { compressionOf, expand, looksLikeTar } from './decompress.ts'
import { rulesOf } from './dialect.ts'
import { syntaxFault } from './dockerfile/fault.ts'
import type { CopyInstruction, Instruction } from './dockerfile/instructions.ts'
import { remoteInputs } from './remote-inputs.ts'
import { hasWildcards, type SelectionFlags } from './selection.ts'
import type { StageTools } from './stage-tools.ts'
import { contentDigest, emptyFolder, fromBytePath, hashOfContent, toBytePath, type FileTree, type Selected, type TreeEntry } from './tree.ts'
import type { Vertex } from './vertices.ts'

export type CopySource =
  | { readonly kind: 'tree'; readonly name: string; readonly tree: FileTree }
  | { readonly kind: 'root'; readonly name: string; readonly chainId: ChainId | undefined; readonly view: (chainId: ChainId) => Promise<string> }

/** Files that are placed in one go. */
export interface CopyGroup {
  readonly selection: readonly Selected[]
  readonly keepOwners: boolean
  /** What ADD has unpacked. */
  readonly isUnpacked?: true
}

export interface PreparedCopy {
  readonly digest: string
  load(): Promise<readonly CopyGroup[]>
}

export interface CopyRequest {
  readonly instruction: CopyInstruction & Instruction
  /** With variables replaced. */
  readonly sources: readonly string[]
  readonly exclude: readonly string[]
  readonly checksum: string | undefined
  readonly keepOwners: boolean
  readonly shared: BuildShared
  readonly vertex: Vertex
  /** Told of what is fetched. */
  readonly note: StageTools['note']
  readonly expand: (word: string) => string
}

/** In the order of the sources; here-documents last. */
export async function copyInputs(source: CopySource, request: CopyRequest): Promise<PreparedCopy> {
  const parts: PreparedCopy[] = []
  let local: string[] = []
  const takeLocal = async (): Promise<void> => {
    if (local.length > 0) parts.push(await localInputs(source, local, request))
    local = []
  }
  for (const each of request.sources) {
    const remote = await remoteInputs(each, request)
    if (remote === undefined) local.push(each)
    else {
      await takeLocal()
      parts.push({ digest: remote.digest, load: async () => (remote.unpack ? unpackArchives([await remote.load()], request) : [{ selection: [await remote.load()], keepOwners: false }]) })
    }
  }
  if (request.checksum !== undefined && (request.sources.length !== 1 || local.length > 0)) throw syntaxFault(request.instruction, '--checksum needs one source, which is fetched by HTTP or git')
  await takeLocal()
  const inline = await inlineFiles(request)
  if (inline.length > 0) parts.push({ digest: contentDigest(inline, { withOwners: false }), load: async () => [{ selection: inline, keepOwners: false }] })
  return { digest: parts.map(({ digest }) => digest).join(' '), load: async () => (await Promise.all(parts.map((part) => part.load()))).flat().filter(({ selection }) => selection.length > 0) }
}

async function localInputs(source: CopySource, sources: readonly string[], request: CopyRequest): Promise<PreparedCopy> {
  const { instruction, keepOwners } = request
  for (const each of sources) checkSource(each, instruction)
  const flags: SelectionFlags = { parents: instruction.parents, exclude: request.exclude.map(toBytePath) }
  const groupOf = async (selected: readonly Selected[]): Promise<readonly CopyGroup[]> =>
    instruction.kind === 'add' && instruction.unpack !== false ? unpackArchives(selected, request) : [{ selection: selected, keepOwners }]
  if (source.kind === 'root') return rootInputs(source, { ...request, sources, flags, groupOf })
  const selected = sources.flatMap((each) => found(each, source.tree.select(each, flags), instruction, source.name, () => source.tree.select(each, { ...flags, exclude: [] })))
  return { digest: contentDigest(selected, { withOwners: keepOwners }), load: () => groupOf(selected) }
}

interface RootRequest extends CopyRequest {
  readonly flags: SelectionFlags
  readonly groupOf: (selected: readonly Selected[]) => Promise<readonly CopyGroup[]>
}

async function rootInputs({ chainId, view, name }: Extract<CopySource, { kind: 'root' }>, { shared, sources, instruction, keepOwners, flags, groupOf }: RootRequest): Promise<PreparedCopy> {
  let selected: Promise<readonly Selected[]> | undefined
  const select = (): Promise<readonly Selected[]> =>
    (selected ??= (async () => {
      const selections = chainId === undefined ? sources.map(() => []) : await shared.spool.addFromRoot(await view(chainId), sources, { signal: shared.signal, flags })
      return sources.flatMap((each, index) => found(each, selections[index] ?? [], instruction, name, () => (flags.exclude.length > 0 ? [emptySelection] : [])))
    })())
  const memo = cacheKey('content', chainId ?? '', sources, flags, keepOwners)
  const known = shared.cache.get(memo, 'content')?.digest
  const digest = known ?? contentDigest(await select(), { withOwners: keepOwners })
  if (known === undefined) await shared.cache.put(memo, { kind: 'content', digest })
  return { digest, load: async () => groupOf(await select()) }
}

const emptySelection: Selected = { name: '', entries: [] }

function checkSource(source: string, at: Instruction): void {
  let depth = 0
  for (const part of source.split('/')) {
    if (part === '..') depth -= 1
    else if (part !== '' && part !== '.') depth += 1
    if (depth < 0) throw syntaxFault(at, `${at.kind.toUpperCase()} failed: forbidden path outside the build context: ${source}; expected a path inside it`)
  }
}

/** What a source matched. A pattern may match nothing, as in BuildKit; a plain name must be there, maybe excluded. */
function found(source: string, selected: readonly Selected[], { kind, ...at }: Instruction, where: string, withoutExclude: () => readonly Selected[]): readonly Selected[] {
  if (selected.length > 0 || hasWildcards(source) || withoutExclude().length > 0) return selected
  throw syntaxFault(at, `${kind.toUpperCase()} failed: file not found in ${where}: stat ${source}: file does not exist`)
}

/** Here-documents are files of mode 644. */
async function inlineFiles({ instruction, shared, expand: expandText }: CopyRequest): Promise<readonly Selected[]> {
  return Promise.all(
    instruction.heredocs.map(async ({ name, body, expand: replaces }) => {
      const content = Buffer.from(replaces ? expandBody(body, expandText) : body)
      const offset = await shared.spool.addBytes(content)
      const entry: TreeEntry = { ...emptyFolder, type: 'file', mode: 0o644, modifiedNs: shared.options.clock.nowNs(), offset, sizeBytes: content.length, hash: hashOfContent(content) }
      return { name: toBytePath(name), entries: [entry] }
    }),
  )
}

/** Variables are replaced in a here-document, but quotes are ordinary characters there. */
function expandBody(body: string, expandText: (word: string) => string): string {
  return expandText(body.replace(/["']/g, '\\$&'))
}

/** ADD unpacks archives that it finds among its sources; each becomes a folder whose contents are placed with their owners. */
async function unpackArchives(selected: readonly Selected[], request: CopyRequest): Promise<readonly CopyGroup[]> {
  const groups: CopyGroup[] = []
  for (const each of selected) {
    const root = each.entries[0]
    const tree = root?.type === 'file' && root.sizeBytes > 0 ? await readArchive(root, each.name, request) : undefined
    if (tree === undefined) groups.push({ selection: [each], keepOwners: request.keepOwners })
    else groups.push({ selection: [{ name: each.name, entries: [...tree.walk('')] }], keepOwners: request.instruction.chown === undefined || !rulesOf(request.shared.request).archivesAreOwned, isUnpacked: true })
  }
  return groups
}

async function readArchive(entry: TreeEntry, name: string, { shared, instruction }: CopyRequest): Promise<FileTree | undefined> {
  const { spool, options, signal } = shared
  const what = `the archive ${fromBytePath(name)}`
  const head = await spool.firstBytes(entry, 512)
  const compression = compressionOf(head)
  if (compression === 'none' && !looksLikeTar(head)) return undefined
  try {
    if (compression !== 'none' && !looksLikeTar(await firstBlock(await expand(spool.content(entry), compression, what, options.processes)))) return undefined
    return await spool.addArchive(await expand(spool.content(entry), compression, what, options.processes), signal)
  } catch (error) {
    if (isFault(error, 'invalidArgument')) throw syntaxFault(instruction, `ADD failed: ${name}: ${(error satisfies Fault).message}`)
    throw error
  }
}

async function firstBlock(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of stream) {
    chunks.push(chunk)
    length += chunk.length
    if (length >= 512) break
  }
  return Buffer.concat(chunks)
}
