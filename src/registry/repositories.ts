/**
 * What a repository holds, as small records beside the content: a blob or manifest is visible in a repository only through a link
 * here.
 *
 *     repositories/<repository>/_blobs/<algorithm>/<hex>       empty
 *     repositories/<repository>/_manifests/<algorithm>/<hex>   media type, and what the referrers API needs
 *     repositories/<repository>/_tags/<tag>                    the manifest's digest
 *     repositories/<repository>/_referrers/<subject>/<digest>  empty
 *     repositories/<repository>/_uploads/<id>/                 an upload (`uploads.ts`)
 *
 * Components of repository names start with a letter or digit, so `_…` cannot be one.
 */
import type { Clock } from '#base/clock.ts'
import { Fault } from '#base/fault.ts'
import { parseJson } from '#base/json.ts'
import type { Digest } from '#oci/digest.ts'
import { digestAlgorithm, isDigest } from '#oci/digest.ts'
import { asObject, countAt, optionalString, optionalStringMap, stringAt } from '#oci/json.ts'
import { isRepository, isTag } from '#oci/reference.ts'
import type { Records, RecordStat } from './storage/contract.ts'

export interface ManifestLink {
  readonly mediaType: string
  readonly sizeBytes: number
  readonly artifactType?: string
  readonly annotations?: Readonly<Record<string, string>>
  readonly subject?: Digest
}

/** A link that the collector may take away, if it is still the same. */
export interface DatedLink extends RecordStat {
  readonly digest: Digest
}

export interface RepositoriesParts {
  readonly records: Records
  readonly clock: Clock
  /** A link that somebody is told of is renewed when it is older; a quarter of the collector's grace. Less than nothing: always. */
  readonly renewAfterMs: number
}

const root = 'repositories'

export class Repositories {
  readonly #parts: RepositoriesParts

  constructor(parts: RepositoriesParts) {
    this.#parts = parts
  }

  get #records(): Records {
    return this.#parts.records
  }

  // ---- blobs ----

  async hasBlob(repository: string, digest: Digest): Promise<boolean> {
    return (await this.#records.stat(blobPath(repository, digest))) !== undefined
  }

  /** The same for who will build on it: the link is young afterwards, which keeps it from the collector. */
  async keepBlob(repository: string, digest: Digest): Promise<boolean> {
    return await this.#keep(blobPath(repository, digest))
  }

  async linkBlob(repository: string, digest: Digest): Promise<void> {
    await this.#records.write(blobPath(repository, digest), '')
  }

  /** True when it was there; with `version`, when it was still that one. */
  async unlinkBlob(repository: string, digest: Digest, options: { readonly version?: string } = {}): Promise<boolean> {
    return await this.#records.remove(blobPath(repository, digest), options)
  }

  async #keep(path: string): Promise<boolean> {
    const found = await this.#records.stat(path)
    if (found === undefined || found.writtenAtMs > this.#parts.clock.nowMs() - this.#parts.renewAfterMs) return found !== undefined
    return await this.#records.touch(path)
  }

  // ---- manifests and tags ----

  async manifest(repository: string, digest: Digest): Promise<ManifestLink | undefined> {
    const bytes = await this.#records.read(manifestPath(repository, digest))
    return bytes === undefined ? undefined : parseLink(bytes, digest)
  }

  /** True when it is there; its link is young afterwards, as with `keepBlob`. */
  async keepManifest(repository: string, digest: Digest): Promise<boolean> {
    return await this.#keep(manifestPath(repository, digest))
  }

  async linkManifest(repository: string, digest: Digest, link: ManifestLink): Promise<void> {
    if (link.subject !== undefined) await this.#records.write(referrerPath(repository, link.subject, digest), '')
    await this.#records.write(manifestPath(repository, digest), JSON.stringify(link))
  }

  /** Takes the manifest, every tag that names it and its referrer entry away; true when it was there, and with `version`, still that one. */
  async unlinkManifest(repository: string, digest: Digest, options: { readonly version?: string } = {}): Promise<boolean> {
    const link = await this.manifest(repository, digest)
    if (link === undefined || !(await this.#records.remove(manifestPath(repository, digest), options))) return false
    for (const tag of await this.tags(repository)) if ((await this.tag(repository, tag)) === digest) await this.untag(repository, tag)
    if (link.subject !== undefined) await this.#records.remove(referrerPath(repository, link.subject, digest))
    return true
  }

  async tag(repository: string, tag: string): Promise<Digest | undefined> {
    if (!isTag(tag)) return undefined
    const text = (await this.#records.read(tagPath(repository, tag)))?.toString().trim()
    return text !== undefined && isDigest(text) ? text : undefined
  }

  async tagStat(repository: string, tag: string): Promise<RecordStat | undefined> {
    return await this.#records.stat(tagPath(repository, tag))
  }

  async setTag(repository: string, tag: string, digest: Digest): Promise<void> {
    if (!isTag(tag)) throw new Fault('invalidArgument', `'${tag}' is no tag: expected 1 to 128 letters, digits, '_', '.' or '-'`, { details: { reason: 'MANIFEST_INVALID' } })
    await this.#records.write(tagPath(repository, tag), digest)
  }

  async untag(repository: string, tag: string, options: { readonly version?: string } = {}): Promise<boolean> {
    return isTag(tag) && (await this.#records.remove(tagPath(repository, tag), options))
  }

  /** Sorted by bytes. */
  async tags(repository: string): Promise<readonly string[]> {
    return (await this.#names(`${folderOf(repository)}/_tags`)).filter(isTag).sort()
  }

  // ---- referrers ----

  async referrers(repository: string, subject: Digest): Promise<readonly Digest[]> {
    return (await this.#names(`${folderOf(repository)}/_referrers/${fileName(subject)}`)).map((name) => name.replace('-', ':')).filter(isDigest).sort()
  }

  // ---- all of them ----

  /** True when it holds a manifest or a blob. */
  async exists(repository: string): Promise<boolean> {
    return (await this.#holds(repository, '_manifests')) || (await this.#holds(repository, '_blobs'))
  }

  async #holds(repository: string, part: '_manifests' | '_blobs'): Promise<boolean> {
    for await (const algorithm of this.#records.list(`${folderOf(repository)}/${part}`)) {
      for await (const _link of this.#records.list(`${folderOf(repository)}/${part}/${algorithm.name}`)) return true
    }
    return false
  }

  /** Every repository that holds a manifest, sorted by bytes. */
  async list(): Promise<readonly string[]> {
    const found: string[] = []
    for await (const repository of this.walk()) if (await this.#holds(repository, '_manifests')) found.push(repository)
    return found.sort()
  }

  /** Every repository that holds anything, be it a begun upload, in no order. */
  async *walk(): AsyncGenerator<string> {
    yield* this.#walk('')
  }

  async *#walk(repository: string): AsyncGenerator<string> {
    let holds = false
    for await (const { name, isFolder } of this.#records.list(repository === '' ? root : `${root}/${repository}`)) {
      if (!isFolder) continue
      if (name.startsWith('_')) holds = true
      else yield* this.#walk(repository === '' ? name : `${repository}/${name}`)
    }
    if (holds && isRepository(repository)) yield repository
  }

  /** Every digest that some repository links, for the collector of content. */
  async *roots(): AsyncGenerator<Digest> {
    for await (const repository of this.walk()) {
      for (const part of ['_blobs', '_manifests'] as const) for await (const { digest } of this.#links(repository, part)) yield digest
    }
  }

  /** Links of blobs in one repository with their age. */
  async *blobLinks(repository: string): AsyncGenerator<DatedLink> {
    yield* dated(this.#links(repository, '_blobs'))
  }

  async *manifestLinks(repository: string): AsyncGenerator<DatedLink> {
    yield* dated(this.#links(repository, '_manifests'))
  }

  async *#links(repository: string, part: '_manifests' | '_blobs'): AsyncGenerator<{ readonly digest: Digest; readonly stat: () => Promise<RecordStat | undefined> }> {
    const folder = `${folderOf(repository)}/${part}`
    for (const algorithm of ['sha256', 'sha512']) {
      for await (const entry of this.#records.list(`${folder}/${algorithm}`)) {
        const digest = `${algorithm}:${entry.name}`
        if (isDigest(digest)) yield { digest, stat: () => entry.stat() }
      }
    }
  }

  async #names(folder: string): Promise<string[]> {
    const names: string[] = []
    for await (const { name } of this.#records.list(folder)) names.push(name)
    return names
  }
}

async function* dated(links: AsyncIterable<{ readonly digest: Digest; readonly stat: () => Promise<RecordStat | undefined> }>): AsyncGenerator<DatedLink> {
  for await (const { digest, stat } of links) {
    const found = await stat()
    if (found !== undefined) yield { digest, ...found }
  }
}

/** Where the records of a repository stand; `NAME_INVALID` for what is no repository name. */
export function folderOf(repository: string): string {
  if (!isRepository(repository)) throw new Fault('invalidArgument', `'${repository}' is no repository name: lower-case letters and digits, separated by '.', '_', '-' or '/'`, { details: { reason: 'NAME_INVALID' } })
  return `${root}/${repository}`
}

function blobPath(repository: string, digest: Digest): string {
  return `${folderOf(repository)}/_blobs/${digest.replace(':', '/')}`
}

function manifestPath(repository: string, digest: Digest): string {
  return `${folderOf(repository)}/_manifests/${digest.replace(':', '/')}`
}

function tagPath(repository: string, tag: string): string {
  return `${folderOf(repository)}/_tags/${tag}`
}

function referrerPath(repository: string, subject: Digest, digest: Digest): string {
  return `${folderOf(repository)}/_referrers/${fileName(subject)}/${fileName(digest)}`
}

function fileName(digest: Digest): string {
  return `${digestAlgorithm(digest)}-${digest.slice(digestAlgorithm(digest).length + 1)}`
}

function parseLink(bytes: Buffer, digest: Digest): ManifestLink {
  const node = asObject(parseJson(bytes, `link of manifest ${digest}`), 'link')
  const artifactType = optionalString(node, 'artifactType')
  const annotations = optionalStringMap(node, 'annotations')
  const subject = optionalString(node, 'subject')
  return {
    mediaType: stringAt(node, 'mediaType'),
    sizeBytes: countAt(node, 'sizeBytes'),
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(annotations === undefined ? {} : { annotations }),
    ...(subject !== undefined && isDigest(subject) ? { subject } : {}),
  }
}
