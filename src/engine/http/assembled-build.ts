/**
 * What `berth build` asks of `POST /build` beside an image: an index of several platforms, annotations, provenance, SBOMs. The words are those of
 * BuildKit's exporters and attestations (`exports/`).
 */
import { parseJson } from '#base/json.ts'
import { hostPlatform, platformText } from '#oci/platform.ts'
import { Vertices } from '../build/vertices.ts'
import type { BuiltImage } from '../contract/builds.ts'
import { attestationsOf, isAttested, type AttestedBuild } from '../exports/attested-build.ts'
import { sbomWish } from '../exports/attestations.ts'
import { assemble, needsAssembly } from '../exports/image-assembly.ts'
import { imageOptions, type ImageOptions } from '../exports/image-options.ts'
import type { Attributes } from '../exports/options.ts'
import { scanImages } from '../exports/sbom.ts'
import type { BuildRequest, EngineBackend, ImageBuilder } from './backend.ts'
import { JsonInput } from './json-input.ts'

export interface AssembledBuild {
  readonly options: ImageOptions
  readonly build: AttestedBuild
}

/** Undefined: the image as the store has it. `id` names the build in what is attested of it. */
export function assembledBuild(query: URLSearchParams, request: BuildRequest, { id, nowNs }: { readonly id: string; readonly nowNs: () => bigint }): AssembledBuild | undefined {
  if (request.output !== undefined || (request.call ?? 'build') !== 'build') return undefined
  const options = imageOptions(new Map([...mapOf(query, 'exporter'), ['name', request.tags.join(',')]]))
  const build = { invocationId: id, startedNs: nowNs(), nowNs, attributes: attributesOf(query, request), isMultiPlatform: request.platforms.length > 1 }
  const targets = request.platforms.length === 0 ? [platformText(hostPlatform)] : request.platforms
  return needsAssembly(options, targets, { isMultiPlatform: build.isMultiPlatform, isAttested: isAttested(build, 'index') }) ? { options, build } : undefined
}

/** As a frontend would have been asked. */
function attributesOf(query: URLSearchParams, { dockerfile, target, buildArgs, labels, context }: BuildRequest): Attributes {
  return new Map([
    ['filename', dockerfile],
    ...(context.kind === 'url' ? [['context', context.url] as const] : []),
    ...(target === '' ? [] : [['target', target] as const]),
    ...Object.entries(buildArgs).map(([name, value]) => [`build-arg:${name}`, value ?? ''] as const),
    ...Object.entries(labels).map(([name, value]) => [`label:${name}`, value] as const),
    ...[...mapOf(query, 'attest')].map(([type, value]) => [`attest:${type}`, value] as const),
  ])
}

function mapOf(query: URLSearchParams, name: string): Attributes {
  const text = query.get(name) ?? ''
  if (text === '') return new Map()
  const input = JsonInput.of(parseJson(text, `query parameter '${name}'`), name)
  return new Map(input.keys().map((key) => [key, input.string(key) ?? '']))
}

/** Gives the request's names to what is made of its images. */
export async function storeAssembled(backend: Pick<EngineBackend, 'images'> & { readonly builder: ImageBuilder }, images: readonly BuiltImage[], { options, build, request }: AssembledBuild & { readonly request: BuildRequest }): Promise<void> {
  using vertices = new Vertices(`${build.invocationId} index`, request.onMessage)
  const wish = sbomWish(build.attributes)
  const attested = wish === undefined ? build : { ...build, scans: await scanImages(images, wish, { ...backend, credentials: request.credentials, vertices, signal: request.signal }) }
  await vertices.during('exporting to image', async (vertex) => {
    using assembly = backend.images.assembleIndex()
    const target = await assemble(assembly, images, { options, isMultiPlatform: build.isMultiPlatform, attestationsOf: (image) => attestationsOf(attested, image, 'index'), vertex, signal: request.signal })
    await assembly.name(target, options.names)
    for (const name of options.names) {
      vertex.progress(`naming to ${name}`, `naming to ${name}`, { isDone: true })
      vertices.tell(`Successfully tagged ${name}\n`)
    }
    // Without a name nothing is left of it but its images.
    if (options.names.length > 0) request.onMessage({ kind: 'imageId', id: target.digest })
  })
}
