/** `Images`, put together: the store, archives, and transfers with registries. */
import { systemClock } from '#base/clock.ts'
import type { Clock } from '#base/clock.ts'
import { Fault, isFault } from '#base/fault.ts'
import type { Logger } from '#base/log.ts'
import { Gate, KeyedSerial } from '#base/task.ts'
import { BlobLeases } from '#oci/blobs/collect.ts'
import type { BlobRoots } from '#oci/blobs/collect.ts'
import type { Blobs } from '#oci/blobs/contract.ts'
import { openRegistry, type MirroredRegistry } from '#oci/client/mirrored-registry.ts'
import type { RegistryCredentials } from '#oci/client/registry-client.ts'
import type { RegistryHostsOptions } from '#oci/client/registry-hosts.ts'
import type { Digest } from '#oci/digest.ts'
import { hostPlatform, parsePlatform } from '#oci/platform.ts'
import { canonicalReference, familiarName, familiarReference, parseReference, withDefaultTag } from '#oci/reference.ts'
import type { ChainId, Images, RegistryAuth } from '../contract/images.ts'
import type { SnapshotCommitter, SnapshotReader } from '../contract/snapshots.ts'
import { chainIdsOf } from '../snapshots/chain.ts'
import type { LayerUnpacker } from '../snapshots/overlay-snapshots.ts'
import { ImageRecords } from './image-records.ts'
import { ImageStore } from './image-store.ts'
import { Assembly } from './index-assembly.ts'
import { importRoot } from './import-root.ts'
import { importUrl } from './import-url.ts'
import { loadArchive } from './load.ts'
import { manifestSummaries } from './manifest-summaries.ts'
import { pullImage } from './pull.ts'
import { lookupRemote, searchRemote, searchTarget } from './remote.ts'
import { pushName } from './push.ts'
import { saveArchive } from './save.ts'

export interface OpenImagesOptions {
  /** Its own folder; made when missing. */
  readonly root: string
  readonly blobs: Blobs
  readonly snapshots: SnapshotReader & Pick<SnapshotCommitter, 'collect'> & LayerUnpacker
  /** The registry of this machine, by every host name it goes by: it shares our blobs. */
  readonly localRegistry?: { readonly hosts: readonly string[]; readonly credentials: RegistryCredentials }
  /** Mirrors, certificates and insecure registries. */
  readonly registries?: RegistryHostsOptions
  /** Blobs that others need, so that the collector spares them: the registry's `roots`. */
  readonly otherRoots?: readonly BlobRoots[]
  /** Layer stacks that others need, so that the collector spares them: the build cache's. */
  readonly otherChains?: () => Iterable<ChainId>
  /** Shared with whoever else stores blobs before naming them. */
  readonly leases?: BlobLeases
  /** How long a blob that nothing names is spared. Default one minute. */
  readonly graceMs?: number
  readonly clock?: Clock
  readonly logger: Logger
}

export interface OpenedImages extends Images {
  /** Frees layers and blobs that nothing needs, blobs only when they are older than `sparedMs` (default `graceMs`). Answers the bytes. */
  collect(options?: { readonly sparedMs?: number }): Promise<number>
  /** A client of a registry, for those who keep other things there than images. */
  connect(registry: string, auth: RegistryAuth | undefined): Promise<MirroredRegistry>
}

const noHosts: RegistryHostsOptions = { folders: [], mirrors: [], insecure: [] }

/** Layers that are fetched or sent at a time, over all transfers. */
const parallelLayers = 4

export async function openImages(options: OpenImagesOptions): Promise<OpenedImages> {
  const { root, blobs, snapshots, logger, clock = systemClock } = options
  const records = await ImageRecords.open({ root, blobs, logger })
  const store = new ImageStore({ records, blobs, snapshots, logger, clock, leases: options.leases ?? new BlobLeases(), otherRoots: options.otherRoots ?? [], ...(options.otherChains === undefined ? {} : { otherChains: options.otherChains }), graceMs: options.graceMs ?? 60_000 })
  await unpackLost(store)
  const gate = new Gate(parallelLayers)
  const downloads = new KeyedSerial<Digest>()
  const isLocal = (registry: string): boolean => options.localRegistry?.hosts.includes(registry) === true
  const connect = async (registry: string, auth: RegistryAuth | undefined): Promise<MirroredRegistry> =>
    await openRegistry({
      registry,
      credentials: isLocal(registry) ? (options.localRegistry?.credentials ?? {}) : credentialsOf(auth),
      hosts: isLocal(registry) ? { ...noHosts, insecure: [registry] } : (options.registries ?? noHosts),
      onMirrorFailure: (mirror, error) => logger.info({ mirror, registry, reason: error.message }, 'a mirror did not help'),
    })
  return {
    connect,
    resolve: (nameOrId, resolveOptions) => store.resolve(nameOrId, resolveOptions),
    manifests: (nameOrId) => manifestSummaries(store, nameOrId),
    list: (listOptions) => store.list(listOptions),
    tag: (id, name) => store.tag(id, name),
    remove: (nameOrId, removeOptions) => store.remove(nameOrId, removeOptions),
    prune: (pruneOptions) => store.prune(pruneOptions),
    put: (config, putOptions) => store.put(config, putOptions),
    load: (archive, loadOptions) => loadArchive(store, archive, loadOptions),
    save: (names, saveOptions) => saveArchive(store, names, saveOptions),
    importRoot: (archive, importOptions) => importRoot(store, archive, importOptions),
    importUrl: (source, importOptions) => importUrl(store, source, importOptions),
    collect: (collectOptions) => store.collect(collectOptions),
    assembleIndex: () => new Assembly(store),
    async pull(name, transfer) {
      const reference = withDefaultTag(parseReference(name))
      using client = await connect(reference.registry, transfer.auth)
      const before = reference.digest === undefined ? records.names.get(canonicalReference(reference))?.id : undefined
      const image = await pullImage({ store, client, gate, downloads }, {
        reference,
        platform: transfer.platform === undefined || transfer.platform === '' ? hostPlatform : parsePlatform(transfer.platform),
        leavesNames: transfer.leavesNames === true,
        onProgress: transfer.onProgress ?? (() => {}),
        signal: transfer.signal ?? new AbortController().signal,
      })
      const news = before === image.id ? 'Image is up to date for' : 'Downloaded newer image for'
      transfer.onProgress?.({ status: `Status: ${news} ${familiarReference(reference)}` })
      return image
    },
    async tags(name, transfer) {
      const reference = parseReference(name)
      using client = await connect(reference.registry, transfer.auth)
      return await client.own.tags(reference.repository, transfer.signal)
    },
    async push(name, transfer) {
      const reference = withDefaultTag(parseReference(name))
      if (reference.digest !== undefined) throw new Fault('invalidArgument', 'cannot push a digest reference')
      const named = records.names.get(canonicalReference(reference))
      const known = named === undefined ? undefined : records.get(named.id)
      // Told before it is known whether there is anything to push: clients find that failure in the stream.
      transfer.onProgress?.({ status: `The push refers to repository [${reference.registry}/${reference.repository}]` })
      if (known === undefined && transfer.target === undefined) throw new Fault('notFound', records.names.hasRepository(reference) ? `tag does not exist: ${familiarReference(reference)}` : `An image does not exist locally with the tag: ${familiarName(reference)}`)
      using client = await connect(reference.registry, transfer.auth)
      return await pushName({ store, client: client.own, gate, isLocal: isLocal(reference.registry) }, {
        reference,
        onProgress: transfer.onProgress ?? (() => {}),
        signal: transfer.signal ?? new AbortController().signal,
      }, {
        ...(transfer.target === undefined ? { known, target: named?.target } : { known: undefined, target: transfer.target }),
        platform: transfer.platform === undefined ? undefined : parsePlatform(transfer.platform),
      })
    },
    async lookup(name, ask = {}) {
      const reference = withDefaultTag(parseReference(name))
      using client = await connect(reference.registry, ask.auth)
      return await lookupRemote(client, reference, ask.signal)
    },
    async search(term, ask) {
      const target = searchTarget(term)
      using client = await connect(target.registry, ask.auth)
      return await searchRemote(client.own, target.term, ask)
    },
    async authenticate(auth) {
      const registry = serverOf(auth)
      using client = await connect(registry, auth)
      try {
        const identityToken = await client.own.login()
        return identityToken === undefined ? {} : { identityToken }
      } catch (error) {
        // Docker's status for a registry that cannot be reached.
        if (isFault(error, 'unavailable')) throw new Fault('internal', error.message, { cause: error })
        if (isFault(error, 'unauthenticated')) throw new Fault('unauthenticated', `login attempt to ${registry} failed: ${error.message}`, { cause: error })
        throw error
      }
    },
  }
}

/** Layers that a power cut took are unpacked again before a container asks for them. */
async function unpackLost(store: ImageStore): Promise<void> {
  for (const known of store.parts.records.all()) {
    try {
      await store.ensureUnpacked(known)
      store.parts.snapshots.claim(chainIdsOf(known.config))
    } catch (error) {
      store.parts.logger.error({ image: known.record.id, error }, 'an image cannot be unpacked again: pull or load it anew')
    }
  }
}

function credentialsOf(auth: RegistryAuth | undefined): RegistryCredentials {
  if (auth === undefined) return {}
  const { username, password, identityToken, registryToken } = auth
  return {
    ...(username ? { username } : {}),
    ...(password ? { password } : {}),
    ...(identityToken ? { identityToken } : {}),
    ...(registryToken ? { registryToken } : {}),
  }
}

/** `docker login` sends a host, or for Docker's own registry an address of version 1. */
function serverOf(auth: RegistryAuth): string {
  const host = (auth.serverAddress ?? '').replace(/^https?:\/\//, '').replace(/\/.*$/, '')
  return host === '' || host === 'index.docker.io' ? 'docker.io' : host
}
