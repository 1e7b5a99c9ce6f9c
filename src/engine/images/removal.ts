/** Removing images by the rules of Docker's image deletion: names first, then the image, never one in use. Called with changes of the store locked out. */
import { Fault } from '#base/fault.ts'
import { digestHex } from '#oci/digest.ts'
import type { Digest } from '#oci/digest.ts'
import { canonicalReference, familiarReference, parseReference, withDefaultTag } from '#oci/reference.ts'
import type { Image, ImageId, ImageRemoval, ImageUser } from '../contract/images.ts'
import type { ImageRecords, KnownImage } from './image-records.ts'
import { digestName } from './image-names.ts'
import type { ImageStore } from './image-store.ts'

type UsedBy = (id: ImageId) => readonly ImageUser[]

export interface RemoveOptions {
  readonly force?: boolean
  readonly noPrune?: boolean
  readonly usedBy?: UsedBy
}

export interface PruneOptions {
  readonly all: boolean
  readonly createdBeforeMs?: number
  readonly usedBy: UsedBy
  readonly keep?: (image: Image) => boolean
}

interface Deletion {
  readonly records: ImageRecords
  readonly force: boolean
  /** Unnamed images that it was built on go along. */
  readonly prune: boolean
  readonly usedBy: UsedBy
  /** What has happened, told to the caller. */
  readonly removals: ImageRemoval[]
}

export function isNamed({ names }: ImageRecords, id: Digest): boolean {
  const { tags, digests } = names.of(id)
  return tags.length > 0 || digests.length > 0
}

export async function removeNow(store: Pick<ImageStore, 'find' | 'isName' | 'parts' | 'siblings'>, nameOrId: string, options: RemoveOptions): Promise<readonly ImageRemoval[]> {
  const known = store.find(nameOrId)
  const siblings = await store.siblings()
  const deletion: Deletion = { records: store.parts.records, force: options.force === true, prune: options.noPrune !== true, usedBy: options.usedBy ?? (() => []), removals: [] }
  if (store.isName(nameOrId)) {
    refuseLastNameInUse(known, nameOrId, deletion)
    const left = await untag(known, nameOrId, deletion)
    if (!left) await deleteImage(known, { ...deletion, quiet: true })
  } else {
    if (repositories(known, deletion.records).size <= 1) {
      refuse(known, { ...deletion, ignoreNames: true })
      await untagAll(known, deletion)
    }
    await deleteImage(known, { ...deletion, quiet: false })
  }
  await deleteWithTarget(store, siblings, deletion)
  return deletion.removals
}

/** Other platforms of an index go with the last name that stands for it. */
async function deleteWithTarget(store: Pick<ImageStore, 'parts' | 'siblings'>, before: ReadonlySet<Digest>, deletion: Deletion): Promise<void> {
  if (before.size === 0) return
  const after = await store.siblings()
  for (const id of before) {
    const known = deletion.records.get(id)
    if (known !== undefined && !after.has(id) && !isNamed(deletion.records, id)) await deleteImage(known, { ...deletion, force: false, quiet: true })
  }
}

export async function pruneNow(store: Pick<ImageStore, 'describe' | 'parts' | 'siblings'>, id: Digest, options: PruneOptions): Promise<readonly ImageRemoval[]> {
  const { records } = store.parts
  const current = records.get(id)
  if (current === undefined || (!options.all && isNamed(records, id))) return []
  const siblings = await store.siblings()
  if (siblings.has(id)) return []
  const image = await store.describe(current)
  if (options.createdBeforeMs !== undefined && Date.parse(image.createdAt) >= options.createdBeforeMs) return []
  if (options.keep?.(image) === true || options.usedBy(image.id).length > 0) return []
  const deletion: Deletion = { records, force: false, prune: true, usedBy: options.usedBy, removals: [] }
  if (options.all) await untagAll(current, deletion)
  await deleteImage(current, { ...deletion, quiet: true })
  await deleteWithTarget(store, siblings, deletion)
  return deletion.removals
}

function refuseLastNameInUse({ record: { id } }: KnownImage, name: string, { records, force, usedBy }: Deletion): void {
  if (force || records.names.of(id).tags.length > 1) return
  const [user] = usedBy(id)
  if (user === undefined) return
  throw new Fault('conflict', `conflict: unable to remove repository reference "${name}" (must force) - container ${user.containerId.slice(0, 12)} is using its referenced image ${digestHex(id).slice(0, 12)}`)
}

/** Takes one name away; true when others are left. Digest names of a repository without a tag go along. */
async function untag({ record: { id } }: KnownImage, name: string, { records, removals }: Deletion): Promise<boolean> {
  const reference = withDefaultTag(parseReference(name))
  const repository = `${reference.registry}/${reference.repository}`
  const asked = reference.digest === undefined ? canonicalReference(reference) : digestName(reference)
  const { tags, digests } = records.names.of(id)
  const isTagged = tags.some((tag) => tag !== asked && repositoryOf(tag) === repository)
  const going = [...tags, ...digests].filter((candidate) => candidate === asked || (!isTagged && candidate.includes('@') && repositoryOf(candidate) === repository))
  await take(going, { records, removals })
  return tags.length + digests.length > going.length
}

async function untagAll({ record: { id } }: KnownImage, deletion: Deletion): Promise<void> {
  const { tags, digests } = deletion.records.names.of(id)
  await take([...tags, ...digests], deletion)
}

async function take(names: readonly string[], { records, removals }: Pick<Deletion, 'records' | 'removals'>): Promise<void> {
  await records.names.change(new Map(names.map((name) => [name, undefined])))
  for (const name of names) removals.push({ untagged: familiarReference(parseReference(name)) })
}

function repositories({ record: { id } }: KnownImage, { names }: ImageRecords): ReadonlySet<string> {
  const { tags, digests } = names.of(id)
  // Several tags count as several references even within one repository.
  return new Set(tags.length > 1 ? tags : [...tags, ...digests].map(repositoryOf))
}

/** Throws the conflict that forbids the deletion, if there is one. */
function refuse(known: KnownImage, deletion: Deletion & { readonly ignoreNames?: boolean }): void {
  const { id } = known.record
  const short = digestHex(id).slice(0, 12)
  const users = deletion.usedBy(id)
  const running = users.find((user) => user.running)
  if (deletion.records.all().some(({ record }) => record.parentId === id)) throw new Fault('conflict', `conflict: unable to delete ${short} (cannot be forced) - image has dependent child images`)
  if (running !== undefined) throw new Fault('conflict', `conflict: unable to delete ${short} (cannot be forced) - image is being used by running container ${running.containerId.slice(0, 12)}`)
  if (deletion.force) return
  if (deletion.ignoreNames !== true && repositories(known, deletion.records).size > 0) throw new Fault('conflict', `conflict: unable to delete ${short} (must be forced) - image is referenced in multiple repositories`)
  const [stopped] = users
  if (stopped !== undefined) throw new Fault('conflict', `conflict: unable to delete ${short} (must be forced) - image is being used by stopped container ${stopped.containerId.slice(0, 12)}`)
}

async function deleteImage(known: KnownImage, deletion: Deletion & { readonly quiet: boolean }): Promise<void> {
  const { records } = deletion
  const current = records.get(known.record.id)
  if (current === undefined) return
  try {
    refuse(current, deletion)
  } catch (error) {
    if (deletion.quiet) return
    throw error
  }
  await untagAll(current, deletion)
  await records.delete(current.record.id)
  deletion.removals.push({ deleted: current.record.id })
  const parent = current.record.parentId === undefined ? undefined : records.get(current.record.parentId)
  if (deletion.prune && parent !== undefined && !isNamed(records, parent.record.id)) await deleteImage(parent, { ...deletion, force: false, quiet: true })
}

function repositoryOf(canonical: string): string {
  const { registry, repository } = parseReference(canonical)
  return `${registry}/${repository}`
}
