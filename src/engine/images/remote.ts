/** Questions to registries that fetch no image: what a name stands for there (`GET /distribution/{name}/json`), and search. */
import { readBody } from '#base/http.ts'
import { parseJson } from '#base/json.ts'
import { Fault, isFault } from '#base/fault.ts'
import type { BlobSource, RegistryClient } from '#oci/client/registry-client.ts'
import { maxConfigBytes } from '#oci/image-config.ts'
import { asObject, member, optionalBoolean, optionalList, optionalString } from '#oci/json.ts'
import type { ImageManifest } from '#oci/manifest.ts'
import { parseManifest } from '#oci/manifest.ts'
import type { Platform } from '#oci/platform.ts'
import { readPlatform } from '#oci/platform.ts'
import type { Reference } from '#oci/reference.ts'
import { dockerHub, familiarName } from '#oci/reference.ts'
import type { RemoteImage, SearchHit } from '../contract/images.ts'

export async function lookupRemote(client: BlobSource, reference: Reference, signal?: AbortSignal): Promise<RemoteImage> {
  try {
    const { digest, mediaType, bytes } = await client.manifest(reference.repository, reference.digest ?? reference.tag ?? 'latest', signal)
    const manifest = parseManifest(bytes, mediaType)
    const platforms = manifest.kind === 'index' ? manifest.manifests.flatMap(({ platform }) => (platform === undefined ? [] : [platform])) : await platformsOf(client, reference, { manifest, ...(signal === undefined ? {} : { signal }) })
    return { mediaType: manifest.mediaType, digest, sizeBytes: bytes.length, platforms }
  } catch (error) {
    // Docker's words, and its 401 also for a repository that is not there: registries do not tell the two apart.
    if (isFault(error, 'unauthenticated') || isFault(error, 'permissionDenied')) throw new Fault('unauthenticated', `errors:\ndenied: requested access to the resource is denied\nunauthorized: authentication required (${familiarName(reference)}: ${error.message})`, { cause: error })
    throw error
  }
}

/** What the configuration of a single image says; a registry that does not give it away tells no platform. */
async function platformsOf(client: BlobSource, { repository }: Reference, { manifest, signal }: { readonly manifest: ImageManifest; readonly signal?: AbortSignal }): Promise<readonly Platform[]> {
  try {
    const { body } = await client.blob(repository, manifest.config.digest, signal === undefined ? {} : { signal })
    return [readPlatform(parseJson(await readBody(body, { maxBytes: maxConfigBytes, what: 'image configuration' }), 'image configuration'), 'config')]
  } catch (error) {
    if (isFault(error, 'canceled') || !isFault(error)) throw error
    return []
  }
}

/** `registry.example/term` asks that registry; everything else asks Docker Hub. */
export function searchTarget(term: string): { readonly registry: string; readonly term: string } {
  if (/^https?:\/\//.test(term)) throw new Fault('invalidArgument', `invalid repository name "${term}": a repository should not have a scheme`)
  const slash = term.indexOf('/')
  const host = term.slice(0, Math.max(slash, 0))
  if (!/[.:]/.test(host) && host !== 'localhost') return { registry: dockerHub, term: term.replace(/^library\//, '') }
  return host === 'index.docker.io' || host === dockerHub ? { registry: dockerHub, term: term.slice(slash + 1) } : { registry: host, term: term.slice(slash + 1) }
}

export async function searchRemote(client: RegistryClient, term: string, options: { readonly limit: number; readonly signal?: AbortSignal }): Promise<readonly SearchHit[]> {
  const answer = asObject(await client.search(term, options.limit, options.signal), 'search answer')
  return (optionalList(answer, 'results', (item, path) => hitOf(item, path)) ?? []).slice(0, options.limit)
}

function hitOf(item: unknown, path: string): SearchHit {
  const node = asObject(item, path)
  const stars = member(node, 'star_count')
  return { name: optionalString(node, 'name') ?? '', description: optionalString(node, 'description') ?? '', stars: typeof stars === 'number' ? stars : 0, official: optionalBoolean(node, 'is_official') ?? false }
}
