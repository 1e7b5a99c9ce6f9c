/**
 * Which image a name means here, and what it was given from (`names.json`): names with a tag, and names with the digest of what a
 * registry holds. A name's target is the index or manifest that it stands for where it came from; the image is the one of its images
 * that this machine runs. Everything is also in memory; the disk is written first. Decision 0015.
 */
import { join } from 'node:path'
import { Fault } from '#base/fault.ts'
import { readState, writeState } from '#base/files.ts'
import { isRecord } from '#base/json.ts'
import { KeyedSerial } from '#base/task.ts'
import { isDigest } from '#oci/digest.ts'
import type { Digest } from '#oci/digest.ts'
import { canonicalReference, parseReference, withDefaultTag } from '#oci/reference.ts'
import type { Reference } from '#oci/reference.ts'
import type { ImageTarget } from '../contract/images.ts'

export interface Named {
  readonly id: Digest
  /** Absent: the name was given to the image itself (built, imported, tagged by its id). */
  readonly target?: ImageTarget
}

export interface ListedNames {
  readonly tags: readonly string[]
  readonly digests: readonly string[]
}

/** 1 had names with tags only, each with an id; those with digests were in the images' records. */
const formatVersion = 2

export class ImageNames {
  readonly #path: string
  readonly #names: Map<string, Named>
  readonly #serial = new KeyedSerial<'names'>()

  private constructor(path: string, names: Map<string, Named>) {
    this.#path = path
    this.#names = names
  }

  /** `digestNames` are those of version 1. Names of images that are not `known` are forgotten. */
  static async open(root: string, options: { readonly known: (id: Digest) => boolean; readonly digestNames: ReadonlyMap<string, Digest> }): Promise<ImageNames> {
    const path = join(root, 'names.json')
    const state = await readState(path, formatVersion)
    const listed = isRecord(state?.['names']) ? Object.entries(state['names']) : []
    const names = new Map(listed.flatMap(([name, value]): [string, Named][] => {
      const named = parseNamed(value)
      return named === undefined || !options.known(named.id) ? [] : [[name, named]]
    }))
    const opened = new ImageNames(path, names)
    if (state?.['formatVersion'] !== formatVersion && options.digestNames.size > 0) await opened.change(new Map([...options.digestNames].map(([name, id]) => [name, { id }])))
    return opened
  }

  /** By canonical name, with tag or digest. */
  get(canonicalName: string): Named | undefined {
    return this.#names.get(canonicalName)
  }

  hasRepository({ registry, repository }: Pick<Reference, 'registry' | 'repository'>): boolean {
    return [...this.#names.keys()].some((name) => name.startsWith(`${registry}/${repository}:`))
  }

  /** Canonical names of an image, sorted. */
  of(id: Digest): ListedNames {
    return this.#listed((named) => named.id === id)
  }

  /** Canonical names that stand for a target, whatever image of it they mean. */
  standingFor({ digest }: ImageTarget): ListedNames {
    return this.#listed(({ target }) => target?.digest === digest)
  }

  #listed(isMeant: (named: Named) => boolean): ListedNames {
    const names = [...this.#names].flatMap(([name, named]) => (isMeant(named) ? [name] : [])).sort()
    return { tags: names.filter((name) => !name.includes('@')), digests: names.filter((name) => name.includes('@')) }
  }

  /** What this registry has been seen to hold: of each name with a digest its repository, digest and image. */
  inRegistry(registry: string): readonly { readonly repository: string; readonly digest: Digest; readonly id: Digest }[] {
    return [...this.#names].flatMap(([name, { id }]) => {
      const { registry: own, repository, digest } = parseReference(name)
      return own === registry && digest !== undefined ? [{ repository, digest, id }] : []
    })
  }

  /** What a name means that stands for this target. */
  meaning(target: Digest): Named | undefined {
    return [...this.#names.values()].find((named) => named.target?.digest === target)
  }

  /** What names stand for, each target once. */
  targets(): readonly ImageTarget[] {
    return [...new Map([...this.#names.values()].flatMap(({ target }) => (target === undefined ? [] : [[target.digest, target]]))).values()]
  }

  /** Gives and takes names in one step; undefined takes a name away. */
  async change(changes: ReadonlyMap<string, Named | undefined>): Promise<void> {
    if (changes.size === 0) return
    await this.#serial.run('names', async () => {
      const next = new Map(this.#names)
      for (const [name, named] of changes) {
        if (named === undefined) next.delete(name)
        else next.set(name, named)
      }
      await writeState(this.#path, { formatVersion, names: Object.fromEntries([...next].sort(([a], [b]) => (a < b ? -1 : 1))) })
      for (const [name, named] of changes) {
        if (named === undefined) this.#names.delete(name)
        else this.#names.set(name, named)
      }
    })
  }
}

function parseNamed(value: unknown): Named | undefined {
  if (typeof value === 'string') return isDigest(value) ? { id: value } : undefined
  if (!isRecord(value) || typeof value['id'] !== 'string' || !isDigest(value['id'])) return undefined
  const target = parseTarget(value['target'])
  return { id: value['id'], ...(target === undefined ? {} : { target }) }
}

function parseTarget(value: unknown): ImageTarget | undefined {
  if (!isRecord(value)) return undefined
  const { mediaType, digest, size } = value
  return typeof mediaType === 'string' && typeof digest === 'string' && isDigest(digest) && typeof size === 'number' ? { mediaType, digest, size } : undefined
}

/** Canonical form of a name that shall be given: with a tag, without a digest. */
export function namedTag(name: string): string {
  const reference = withDefaultTag(parseReference(name))
  if (reference.digest !== undefined) throw new Fault('invalidArgument', `refusing to create a tag with a digest reference: '${name}'`)
  return canonicalReference(reference)
}

/** Canonical `name@digest`, without a tag. */
export function digestName(reference: Reference): string {
  const { tag: _tag, ...rest } = reference
  return canonicalReference(rest)
}
