/**
 * The build context as a tar stream: every file below the folder that .dockerignore leaves in, as docker sends it
 * (symbolic links as links, owner 0:0). Files are streamed, never held in memory whole.
 */
import { createReadStream } from 'node:fs'
import { lstat, readdir, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { ignorePatterns, PathPatterns } from '#base/path-patterns.ts'
import type { TarEntry } from '#oci/layer/entry.ts'
import { tarEnd, tarHeader, tarPadding } from '#oci/layer/writer.ts'
import { ExitError } from '../exit.ts'

export interface ContextOptions {
  /** Text of the .dockerignore file. */
  readonly ignore: string
  /** Paths that are sent whatever the file says: the engine needs them. */
  readonly keep: readonly string[]
  /** Files that are not in the folder, such as a Dockerfile from elsewhere. */
  readonly extra: readonly { readonly path: string; readonly content: Buffer }[]
}

export function packContext(folder: string, options: ContextOptions): Readable {
  return Readable.from(pack(folder, options), { objectMode: false })
}

async function* pack(folder: string, options: ContextOptions): AsyncGenerator<Buffer> {
  const rules = new PathPatterns(ignorePatterns(options.ignore))
  const exceptions = rules.hasExceptions
  const included = (path: string): boolean => options.keep.includes(path) || !rules.matches(path)
  yield* packFolder(folder, '', { included, descend: (path) => exceptions || included(path) || options.keep.some((kept) => kept.startsWith(`${path}/`)) })
  for (const { path, content } of options.extra) {
    yield tarHeader(entryOf({ path, type: 'file', mode: 0o644, sizeBytes: content.length, modifiedMs: 0 }))
    yield content
    yield tarPadding(content.length)
  }
  yield tarEnd
}

interface Choice {
  readonly included: (path: string) => boolean
  readonly descend: (path: string) => boolean
}

async function* packFolder(root: string, folder: string, choice: Choice): AsyncGenerator<Buffer> {
  const names = (await readdir(join(root, folder))).sort()
  for (const name of names) {
    const path = folder === '' ? name : `${folder}/${name}`
    const full = join(root, path)
    const stats = await lstat(full)
    const common = { path, mode: stats.mode & 0o7777, modifiedMs: stats.mtimeMs }
    if (stats.isDirectory()) {
      if (choice.included(path)) yield tarHeader(entryOf({ ...common, type: 'directory', sizeBytes: 0 }))
      if (choice.descend(path)) yield* packFolder(root, path, choice)
    } else if (choice.included(path)) {
      if (stats.isSymbolicLink()) yield tarHeader(entryOf({ ...common, type: 'symlink', sizeBytes: 0, link: await readlink(full) }))
      else if (stats.isFile()) yield* packFile(full, entryOf({ ...common, type: 'file', sizeBytes: stats.size }))
      // Sockets and devices are not part of a context, as with docker.
    }
  }
}

async function* packFile(path: string, entry: TarEntry): AsyncGenerator<Buffer> {
  yield tarHeader(entry)
  let sent = 0
  for await (const chunk of createReadStream(path)) {
    const bytes = Buffer.from(chunk)
    sent += bytes.length
    if (sent > entry.sizeBytes) break
    yield bytes
  }
  if (sent !== entry.sizeBytes) throw new ExitError(`${path} changed while it was sent: build again`)
  yield tarPadding(entry.sizeBytes)
}

interface EntryFacts {
  readonly path: string
  readonly type: TarEntry['type']
  readonly mode: number
  readonly sizeBytes: number
  readonly modifiedMs: number
  readonly link?: string
}

function entryOf(facts: EntryFacts): TarEntry {
  return {
    type: facts.type,
    path: Buffer.from(facts.path),
    linkPath: Buffer.from(facts.link ?? ''),
    mode: facts.mode,
    uid: 0,
    gid: 0,
    userName: '',
    groupName: '',
    sizeBytes: facts.sizeBytes,
    modifiedNs: BigInt(Math.trunc(facts.modifiedMs / 1000)) * 1_000_000_000n,
    xattrs: new Map(),
  }
}
