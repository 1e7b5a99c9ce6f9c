/**
 * What a repository holds, as small files beside the shared blobs: a blob or manifest is visible in a repository only through
 * a link here. Nothing is kept in memory, so several registries may serve one folder.
 *
 *     <root>/<repository>/_blobs/<algorithm>/<hex>       empty
 *     <root>/<repository>/_manifests/<algorithm>/<hex>   media type, and what the referrers API needs
 *     <root>/<repository>/_tags/<tag>                    the manifest's digest
 *     <root>/<repository>/_referrers/<subject>/<digest>  empty
 *     <root>/<repository>/_uploads/<id>                  empty: the upload belongs to this repository
 *
 * Components of repository names start with a letter or digit, so `_…` cannot be one.
 */
import { mkdir, readdir, readFile, stat, unlink, writeFile } from 'node:fs/promises'
import type { Dirent } from 'node:fs'
import { dirname, join } from 'node:path'
import { Fault, systemErrorCode } from '#base/fault.ts'
import { writeFileAtomically } from '#base/files.ts'
import { parseJson } from '#base/json.ts'
import type { Digest } from '#oci/digest.ts'
import { digestAlgorithm, isDigest } from '#oci/digest.ts'
import { asObject, countAt, optionalString, optionalStringMap, stringAt } from '#oci/json.ts'
import { isRepository, isTag } from '#oci/reference.ts'

export interface ManifestLink {
  readonly mediaType: string
  readonly sizeBytes: number
  readonly artifactType?: string
  readonly annotations?: Readonly<Record<string, string>>
  readonly subject?: Digest
}

export class Repositories {
  readonly #root: string

  constructor(root: string) {
    this.#root = root
  }

  #folder(repository: string): string {
    if (!isRepository(repository)) throw new Fault('invalidArgument', `'${repository}' is no repository name: lower-case letters and digits, separated by '.', '_', '-' or '/'`, { details: { reason: 'NAME_INVALID' } })
    return join(this.#root, repository)
  }

  // ---- blobs ----

  async hasBlob(repository: string, digest: Digest): Promise<boolean> {
    return await exists(this.#blobPath(repository, digest))
  }

  async linkBlob(repository: string, digest: Digest): Promise<void> {
    await writeLink(this.#blobPath(repository, digest), '')
  }

  /** True when it was there. */
  async unlinkBlob(repository: string, digest: Digest): Promise<boolean> {
    return await removed(this.#blobPath(repository, digest))
  }

  #blobPath(repository: string, digest: Digest): string {
    return join(this.#folder(repository), '_blobs', digest.replace(':', '/'))
  }

  // ---- manifests and tags ----

  async manifest(repository: string, digest: Digest): Promise<ManifestLink | undefined> {
    const text = await readText(this.#manifestPath(repository, digest))
    return text === undefined ? undefined : parseLink(text, digest)
  }

  async linkManifest(repository: string, digest: Digest, link: ManifestLink): Promise<void> {
    if (link.subject !== undefined) await writeLink(this.#referrerPath(repository, link.subject, digest), '')
    await writeLink(this.#manifestPath(repository, digest), JSON.stringify(link))
  }

  /** Takes the manifest, every tag that names it and its referrer entry away; true when it was there. */
  async unlinkManifest(repository: string, digest: Digest): Promise<boolean> {
    const link = await this.manifest(repository, digest)
    if (link === undefined) return false
    for (const tag of await this.tags(repository)) if ((await this.tag(repository, tag)) === digest) await this.untag(repository, tag)
    if (link.subject !== undefined) await removed(this.#referrerPath(repository, link.subject, digest))
    return await removed(this.#manifestPath(repository, digest))
  }

  #manifestPath(repository: string, digest: Digest): string {
    return join(this.#folder(repository), '_manifests', digest.replace(':', '/'))
  }

  async tag(repository: string, tag: string): Promise<Digest | undefined> {
    if (!isTag(tag)) return undefined
    const text = (await readText(join(this.#folder(repository), '_tags', tag)))?.trim()
    return text !== undefined && isDigest(text) ? text : undefined
  }

  async setTag(repository: string, tag: string, digest: Digest): Promise<void> {
    if (!isTag(tag)) throw new Fault('invalidArgument', `'${tag}' is no tag: expected 1 to 128 letters, digits, '_', '.' or '-'`, { details: { reason: 'MANIFEST_INVALID' } })
    await writeLink(join(this.#folder(repository), '_tags', tag), digest)
  }

  async untag(repository: string, tag: string): Promise<boolean> {
    return isTag(tag) && (await removed(join(this.#folder(repository), '_tags', tag)))
  }

  /** Sorted by bytes. */
  async tags(repository: string): Promise<readonly string[]> {
    return (await names(join(this.#folder(repository), '_tags'))).filter(isTag).sort()
  }

  // ---- referrers ----

  async referrers(repository: string, subject: Digest): Promise<readonly Digest[]> {
    return (await names(join(this.#folder(repository), '_referrers', fileName(subject)))).map((name) => name.replace('-', ':')).filter(isDigest).sort()
  }

  #referrerPath(repository: string, subject: Digest, digest: Digest): string {
    return join(this.#folder(repository), '_referrers', fileName(subject), fileName(digest))
  }

  // ---- uploads ----

  async beginUpload(repository: string, id: string): Promise<void> {
    await writeLink(join(this.#folder(repository), '_uploads', id), '')
  }

  async ownsUpload(repository: string, id: string): Promise<boolean> {
    return /^[A-Za-z0-9_-]{1,128}$/.test(id) && (await exists(join(this.#folder(repository), '_uploads', id)))
  }

  async endUpload(repository: string, id: string): Promise<void> {
    await removed(join(this.#folder(repository), '_uploads', id))
  }

  // ---- all of them ----

  /** True when anything was ever pushed there. */
  async exists(repository: string): Promise<boolean> {
    return (await exists(join(this.#folder(repository), '_manifests'))) || (await exists(join(this.#folder(repository), '_blobs')))
  }

  /** Every repository that holds a manifest, sorted by bytes. */
  async list(): Promise<readonly string[]> {
    const found: string[] = []
    const visit = async (folder: string, name: string): Promise<void> => {
      for (const entry of await entries(folder)) {
        if (!entry.isDirectory()) continue
        if (entry.name === '_manifests') {
          if (await hasAny(join(folder, entry.name))) found.push(name)
        } else if (!entry.name.startsWith('_')) await visit(join(folder, entry.name), name === '' ? entry.name : `${name}/${entry.name}`)
      }
    }
    await visit(this.#root, '')
    return found.sort()
  }

  /** Every digest that some repository links, for the collector. */
  async *roots(): AsyncGenerator<Digest> {
    const visit = async function* (folder: string): AsyncGenerator<Digest> {
      for (const entry of await entries(folder)) {
        if (entry.name === '_blobs' || entry.name === '_manifests') {
          for (const algorithm of ['sha256', 'sha512']) {
            for (const hex of await names(join(folder, entry.name, algorithm))) {
              const digest = `${algorithm}:${hex}`
              if (isDigest(digest)) yield digest
            }
          }
        } else if (!entry.name.startsWith('_') && entry.isDirectory()) yield* visit(join(folder, entry.name))
      }
    }
    yield* visit(this.#root)
  }

  /** Links of blobs in one repository with the time they were made, for pruning what no manifest needs. */
  async blobLinks(repository: string): Promise<readonly { readonly digest: Digest; readonly linkedAtMs: number }[]> {
    const found: { digest: Digest; linkedAtMs: number }[] = []
    for (const algorithm of ['sha256', 'sha512']) {
      for (const hex of await names(join(this.#folder(repository), '_blobs', algorithm))) {
        const digest = `${algorithm}:${hex}`
        if (isDigest(digest)) found.push({ digest, linkedAtMs: (await stat(this.#blobPath(repository, digest))).mtimeMs })
      }
    }
    return found
  }

  async manifestLinks(repository: string): Promise<readonly Digest[]> {
    const found: Digest[] = []
    for (const algorithm of ['sha256', 'sha512']) {
      for (const hex of await names(join(this.#folder(repository), '_manifests', algorithm))) {
        const digest = `${algorithm}:${hex}`
        if (isDigest(digest)) found.push(digest)
      }
    }
    return found
  }
}

function fileName(digest: Digest): string {
  return `${digestAlgorithm(digest)}-${digest.slice(digestAlgorithm(digest).length + 1)}`
}

function parseLink(text: string, digest: Digest): ManifestLink {
  const node = asObject(parseJson(text, `link of manifest ${digest}`), 'link')
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

/** Empty links need no content, only their name; others are replaced atomically. */
async function writeLink(path: string, content: string): Promise<void> {
  try {
    await (content === '' ? writeFile(path, '') : writeFileAtomically(path, content))
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT') throw error
    await mkdir(dirname(path), { recursive: true })
    await (content === '' ? writeFile(path, '') : writeFileAtomically(path, content))
  }
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (isAbsence(error)) return undefined
    throw error
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path)
    return true
  } catch (error) {
    if (isAbsence(error)) return false
    throw error
  }
}

async function removed(path: string): Promise<boolean> {
  try {
    await unlink(path)
    return true
  } catch (error) {
    if (isAbsence(error)) return false
    throw error
  }
}

async function names(folder: string): Promise<string[]> {
  try {
    return await readdir(folder)
  } catch (error) {
    if (isAbsence(error)) return []
    throw error
  }
}

async function entries(folder: string): Promise<Dirent[]> {
  try {
    return await readdir(folder, { withFileTypes: true })
  } catch (error) {
    if (isAbsence(error)) return []
    throw error
  }
}

async function hasAny(folder: string): Promise<boolean> {
  for (const algorithm of await names(folder)) if ((await names(join(folder, algorithm))).length > 0) return true
  return false
}

function isAbsence(error: unknown): boolean {
  const code = systemErrorCode(error)
  return code === 'ENOENT' || code === 'ENOTDIR' || code === 'ENAMETOOLONG'
}

