/**
 * `Images`: what the engine knows about images. An image is its configuration: the id is the digest of the config JSON, so
 * equal content is one image, however many names it has (OCI image-spec `config.md`; Docker image spec v1.2).
 *
 *     const image = await images.pull('busybox:1.36', { onProgress, signal })
 *     const image = await images.resolve('busybox')          // name, name@digest, id or unique id prefix
 *     await images.tag(image.id, 'localhost:5000/bb:1')
 *     await images.untag('localhost:5000/bb:1')              // the last name and no user: layers are freed by the collector
 *
 * Names are accepted in every form Docker accepts and stored in full (`docker.io/library/busybox:1.36`); they are shown in
 * familiar form (`busybox:1.36`). Faults: `notFound` (`No such image: NAME`), `invalidArgument` (`invalid reference format`),
 * `conflict` (in use; an id prefix that fits several images), `unauthenticated`/`permissionDenied`/`unavailable` from registries.
 *
 * Callers ask for the small interface they need (`ImageResolver` to run, `ImageBuilderStore` to build, …), not for `Images`.
 */
import type { Readable } from 'node:stream'
import type { Descriptor } from '#oci/descriptor.ts'
import type { Digest } from '#oci/digest.ts'
import type { ContainerDefaults, HealthcheckConfig, ImageConfig, ImageHistory } from '#oci/image-config.ts'
import type { Platform } from '#oci/platform.ts'

/** Digest of an uncompressed layer tar. */
export type DiffId = string
/** Identity of a stack of layers: the diff id of the only one, or sha256(parent chain id + ' ' + diff id). */
export type ChainId = string
/** `sha256:` and the 64 hex digits of the config JSON. */
export type ImageId = string

export interface Image {
  readonly id: ImageId
  readonly config: ImageConfig
  /** Familiar names with tag, sorted: `busybox:1.36`. */
  readonly repoTags: readonly string[]
  /** Familiar names with manifest digest: `busybox@sha256:…`. */
  readonly repoDigests: readonly string[]
  /** Chain id of the topmost layer: the parent for a container's snapshot. Undefined for an image without layers. */
  readonly topLayer: ChainId | undefined
  /** Sum of the unpacked layers. */
  readonly sizeBytes: number
  /** Bytes of each unpacked layer, in the order of `config.rootfs.diff_ids` (`docker history`). */
  readonly layerSizes?: readonly number[]
  /** RFC 3339, from the config; `0001-01-01T00:00:00Z` when the config says nothing. */
  readonly createdAt: string
  /** When a name was last given to it here, ms since the epoch. */
  readonly lastTaggedAtMs: number | undefined
  /** The image this one was built on here, if known (classic builder). */
  readonly parentId?: ImageId
  /** The manifest it came with, when it was pulled, loaded from an OCI layout or pushed. */
  readonly manifestDigest?: string
}

export type { ContainerDefaults, HealthcheckConfig, ImageConfig, ImageHistory }

/**
 * The index or manifest that a name stands for where it came from (decision 0015): a name means one image here, that of one platform, but
 * what it was given from is kept whole, as far as it is here, and pushed and saved as it is.
 */
export type ImageTarget = Pick<Descriptor, 'mediaType' | 'digest' | 'size'>

export interface ImageResolver {
  /**
   * By name (tag `latest` when none is given), `name@digest`, id, unique id prefix, or digest of what a name stands for. `notFound`:
   * `No such image: …`. With `platform` (`linux/arm64`) that image of what the name stands for; `notFound` if it is not here.
   */
  resolve(nameOrId: string, options?: { readonly platform?: string }): Promise<Image>
}

export interface ImageLister {
  /** All images, newest first. Built intermediate images (no name, a child) and other platforms of a name's index only with `all`. */
  list(options?: { readonly all?: boolean }): Promise<readonly Image[]>
}

export interface ImageManifests {
  /** What a name stands for (of an id: its own manifest), and the manifests of that, here or not. */
  manifests(nameOrId: string): Promise<{ readonly target: ImageTarget; readonly manifests: readonly ManifestSummary[] }>
}

/** One manifest of an index, or the only one. */
export interface ManifestSummary {
  readonly descriptor: Descriptor
  /** With all its parts. */
  readonly isAvailable: boolean
  /** Of it and its parts, as far as they are here. */
  readonly contentBytes: number
  readonly kind: { readonly is: 'image'; readonly platform: Platform; readonly id?: ImageId; readonly unpackedBytes: number } | { readonly is: 'attestation'; readonly about: string } | { readonly is: 'unknown' }
}

export interface ImageTagger {
  /** A name gives its target on; an id names the image alone. */
  tag(nameOrId: string, name: string): Promise<void>
  /**
   * Removes a name, or with an id all names and the image (more than one name: `conflict` unless `force`). An image whose last
   * name goes is deleted when nothing is built on it. `usedBy` gives the ids of containers that hold an image; a user is a
   * `conflict` naming it. Answers what happened, in order, for Docker's `[{Untagged},{Deleted}]`.
   */
  remove(nameOrId: string, options?: { readonly force?: boolean; readonly noPrune?: boolean; readonly usedBy?: (id: ImageId) => readonly ImageUser[] }): Promise<readonly ImageRemoval[]>
  /** Deletes unnamed images (with `all`: every image) that no container and no child uses. */
  prune(options: { readonly all: boolean; readonly createdBeforeMs?: number; readonly usedBy: (id: ImageId) => readonly ImageUser[]; readonly keep?: (image: Image) => boolean }): Promise<{ readonly removals: readonly ImageRemoval[]; readonly reclaimedBytes: number }>
}

export interface ImageUser {
  readonly containerId: string
  readonly running: boolean
}

export type ImageRemoval = { readonly untagged: string } | { readonly deleted: string }

export interface RegistryAuth {
  readonly username?: string
  readonly password?: string
  readonly identityToken?: string
  readonly registryToken?: string
  readonly serverAddress?: string
}

/** One step of a transfer, shaped so that Docker's JSON stream and a progress bar can both be drawn from it. */
export interface TransferProgress {
  /** Short layer id (12 hex) or tag; absent for overall lines such as `Digest: sha256:…`. */
  readonly id?: string
  /** Docker's words: `Pulling fs layer`, `Downloading`, `Extracting`, `Pull complete`, `Already exists`, `Pushed`, `Mounted from …`. */
  readonly status: string
  readonly currentBytes?: number
  readonly totalBytes?: number
}

export interface TransferOptions {
  readonly auth?: RegistryAuth
  /** `linux/amd64`, `linux/arm64/v8`; the host's by default. */
  readonly platform?: string
  /** A name that means an image here already goes on meaning that. */
  readonly leavesNames?: boolean
  readonly onProgress?: (progress: TransferProgress) => void
  readonly signal?: AbortSignal
}

export interface ImageTransfer {
  /** Fetches what is missing, verifies every digest, unpacks, names it. Parallel calls for one name share the work. */
  pull(name: string, options: TransferOptions): Promise<Image>
  /** The tags that a registry has of a repository. */
  tags(name: string, options: Pick<TransferOptions, 'auth' | 'signal'>): Promise<readonly string[]>
  /** Uploads one name: its target whole where that can be, else the image that it means here. Answers what the registry now holds. */
  push(name: string, options: PushOptions): Promise<PushedImage>
  /** Checks credentials against a registry (`docker login`). `unauthenticated` when refused. */
  authenticate(auth: RegistryAuth): Promise<{ readonly identityToken?: string }>
}

export interface PushOptions extends Omit<TransferOptions, 'platform' | 'leavesNames'> {
  /** Only the manifest of this platform. */
  readonly platform?: string
  /** What is pushed, instead of what the name stands for here: a build's index under a name that it has nowhere else. */
  readonly target?: ImageTarget
}

export interface PushedImage {
  readonly tag: string
  readonly digest: string
  readonly sizeBytes: number
  /** The index that the name stands for, when parts of it were neither here nor there and only `selected` could be pushed. */
  readonly insteadOf?: { readonly index: Descriptor; readonly selected: Descriptor }
}

/** What a registry holds, without fetching it. */
export interface ImageRemotes {
  /** `GET /distribution/{name}/json`: the manifest a name stands for and the platforms it has. */
  lookup(name: string, options?: { readonly auth?: RegistryAuth; readonly signal?: AbortSignal }): Promise<RemoteImage>
  /** `docker search`: by the registry's own index. `unavailable` where it cannot be reached. */
  search(term: string, options: { readonly limit: number; readonly auth?: RegistryAuth; readonly signal?: AbortSignal }): Promise<readonly SearchHit[]>
}

export interface RemoteImage {
  readonly mediaType: string
  readonly digest: string
  readonly sizeBytes: number
  readonly platforms: readonly Platform[]
}

export interface SearchHit {
  readonly name: string
  readonly description: string
  readonly stars: number
  readonly official: boolean
}

export interface ImportRootOptions {
  readonly name?: string
  /** Comment of the image; `Imported from SOURCE` by default. */
  readonly message?: string
  readonly defaults?: ContainerDefaults
  readonly platform?: string
  readonly signal?: AbortSignal
}

export interface SaveOptions {
  /** Of a lone image or a target, instead of what it was asked for by. */
  readonly names?: readonly string[]
  /** A target that is saved although no name stands for it; it is in this machine's store, and held there. Its annotations and platform go along. */
  readonly target?: Descriptor
  /** Only the manifest of this platform. */
  readonly platform?: string
  readonly signal?: AbortSignal
}

export interface ImageArchives {
  /**
   * `docker load`: a tar of `docker save` or an OCI layout, gzip or not. Calls back per image with its names. Names of an index mean its
   * image for `platform` (`notFound` if it has none), by default for this machine, or any if there is none for it.
   */
  load(archive: Readable, options: { readonly platform?: string; readonly onLoaded: (image: Image, names: readonly string[]) => void; readonly onProgress?: (progress: TransferProgress) => void; readonly signal?: AbortSignal }): Promise<void>
  /** `docker save`: one tar readable by Docker (manifest.json, repositories) and as an OCI layout. */
  save(namesOrIds: readonly string[], options?: SaveOptions): Promise<Readable>
  /** `docker import`: a root file system tar (gzip or not) becomes a one-layer image. `changes` are Dockerfile lines applied by the caller into `defaults`. */
  importRoot(archive: Readable, options: ImportRootOptions): Promise<Image>
  /** The same with a tar that is fetched over HTTP or HTTPS; without a scheme it is HTTP. A name that is none is refused before anything is fetched. */
  importUrl(source: string, options: ImportRootOptions & { readonly onProgress?: (progress: TransferProgress) => void }): Promise<Image>
}

export interface ImageBuilderStore {
  /**
   * Stores an image whose layers exist in the snapshotter (each diff id of `config.rootfs` has been committed or unpacked).
   * Identical configs are one image. Names it when `name` is given. `parentId` is remembered for `docker history` and pruning.
   */
  put(config: ImageConfig, options?: { readonly name?: string; readonly parentId?: ImageId }): Promise<Image>
}

/** Indexes that are made here: an image of several platforms, or one with attestations. */
export interface ImageIndexes {
  /**
   * Begins an index. What is put into it is held until it is disposed of; from then on only what a name stands for is kept.
   *
   *     using index = images.assembleIndex()
   *     const amd64 = await index.manifest(built.id)
   *     const attestation = await index.blob(bytes)                    // layers and configuration, then the manifest that lists them
   *     const target = await index.finish({ manifests: [amd64, { ...attestation, mediaType, annotations }], names: ['app:1'] })
   *     await images.push('app:1', {})                                 // or push(name, { target }), save([], { target, names })
   */
  assembleIndex(): IndexAssembly
}

export interface IndexAssembly extends Disposable {
  /** Stores bytes. */
  blob(bytes: Uint8Array): Promise<{ readonly digest: Digest; readonly size: number }>
  /** Stores the manifest of an image that is here, and answers its descriptor with its platform. */
  manifest(id: ImageId, options?: ManifestOptions): Promise<Descriptor>
  /**
   * Stores the index of manifests that are here, in this order, and gives names to it: they mean its image for this machine, or its first
   * one if none is. `invalidArgument` if it is to be named and holds no image. Answers its descriptor.
   */
  finish(index: { readonly manifests: readonly Descriptor[]; readonly annotations?: Readonly<Record<string, string>>; readonly names?: readonly string[]; readonly format?: ManifestFormat }): Promise<Descriptor>
  /** Gives names to a manifest alone, as `finish` gives them to an index. */
  name(target: ImageTarget, names: readonly string[]): Promise<void>
}

/** The names that manifests give to themselves and to their parts: OCI's, or those of Docker before (schema 2). */
export type ManifestFormat = 'oci' | 'docker'

export interface ManifestOptions {
  /** With layers as registries elsewhere want them (gzip); otherwise as they lie here. */
  readonly compressed?: boolean
  /** Of the manifest itself. */
  readonly annotations?: Readonly<Record<string, string>>
  /** `oci` by default. */
  readonly format?: ManifestFormat
  readonly signal?: AbortSignal
}

export interface Images extends ImageIndexes, ImageResolver, ImageLister, ImageManifests, ImageTagger, ImageTransfer, ImageRemotes, ImageArchives, ImageBuilderStore {}
