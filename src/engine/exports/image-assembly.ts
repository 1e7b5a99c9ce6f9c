/** From images of a build to what exporters hand out: a manifest, or an index with attestations (moby/buildkit `exporter/containerimage/writer.go`). */
import { Fault } from '#base/fault.ts'
import type { Descriptor } from '#oci/descriptor.ts'
import { parsePlatform } from '#oci/platform.ts'
import type { Vertex } from '../build/vertices.ts'
import type { BuiltImage } from '../contract/builds.ts'
import type { IndexAssembly } from '../contract/images.ts'
import { hasAny } from './annotations.ts'
import { attestationManifest, type Attestation } from './attestations.ts'
import type { ImageOptions } from './image-options.ts'
import { imagePurl } from './purl.ts'

export interface Assembled {
  /** Clients asked for one thing for each platform. */
  readonly isMultiPlatform: boolean
  readonly attestationsOf: (image: BuiltImage) => readonly Attestation[]
  readonly vertex: Vertex
  readonly signal: AbortSignal
}

/** Whether more is wanted than the image as the store has it. */
export function needsAssembly({ annotations, isFormGiven }: ImageOptions, platforms: readonly string[], { isMultiPlatform, isAttested }: { readonly isMultiPlatform: boolean; readonly isAttested: boolean }): boolean {
  const isAnnotated = platforms.some((platform) => hasAny(annotations.manifest(platform)) || hasAny(annotations.manifestDescriptor(platform))) || hasAny(annotations.index) || hasAny(annotations.indexDescriptor)
  return isMultiPlatform || isAttested || isFormGiven || isAnnotated || annotations.platforms.length > 0
}

/** Stores the index, or the manifest of a lone image. Answers its descriptor, with the annotations that were asked for it. */
export async function assemble(assembly: IndexAssembly, images: readonly BuiltImage[], { options, ...made }: Assembled & { readonly options: ImageOptions }): Promise<Descriptor> {
  const { annotations, format } = options
  const { isMultiPlatform, attestationsOf, vertex } = made
  const stranger = annotations.platforms.find((each) => !images.some(({ platform }) => platform === each))
  if (stranger !== undefined) throw new Fault('invalidArgument', `invalid annotation: no platform ${stranger} found in source`)
  const manifests: Descriptor[] = []
  for (const image of images) manifests.push(await manifestOf(assembly, image, { options, ...made }))
  const attestations: Descriptor[] = []
  for (const [index, image] of images.entries()) {
    const target = manifests[index]
    const about = attestationsOf(image)
    if (target === undefined || about.length === 0) continue
    if (format === 'docker') throw new Fault('invalidArgument', 'cannot export attestations with "oci-mediatypes=false"')
    attestations.push(await attest(assembly, about, { target, platform: image.platform, options, vertex }))
  }
  const [lone] = manifests
  if (!isMultiPlatform && attestations.length === 0 && lone !== undefined) {
    if (hasAny(annotations.index) || hasAny(annotations.indexDescriptor)) throw new Fault('invalidArgument', 'index annotations not supported for single platform export')
    return lone
  }
  const target = await assembly.finish({ manifests: [...manifests, ...attestations], format, ...(hasAny(annotations.index) ? { annotations: annotations.index } : {}) })
  const told = `exporting manifest list ${target.digest}`
  vertex.progress(told, told, { isDone: true })
  return { ...target, ...(hasAny(annotations.indexDescriptor) ? { annotations: annotations.indexDescriptor } : {}) }
}

async function manifestOf(assembly: IndexAssembly, { imageId, platform }: BuiltImage, { options, vertex, signal }: Assembled & { readonly options: ImageOptions }): Promise<Descriptor> {
  const { annotations, compressed, format } = options
  const own = annotations.manifest(platform)
  const ofDescriptor = annotations.manifestDescriptor(platform)
  const descriptor = await assembly.manifest(imageId, { compressed, format, signal, ...(hasAny(own) ? { annotations: own } : {}) })
  for (const told of [`exporting manifest ${descriptor.digest}`, `exporting config ${imageId}`]) vertex.progress(told, told, { isDone: true })
  return { ...descriptor, platform: parsePlatform(platform), ...(hasAny(ofDescriptor) ? { annotations: ofDescriptor } : {}) }
}

interface Attested {
  readonly target: Descriptor
  readonly platform: string
  readonly options: ImageOptions
  readonly vertex: Vertex
}

async function attest(assembly: IndexAssembly, attestations: readonly Attestation[], { target, platform, options, vertex }: Attested): Promise<Descriptor> {
  const [algorithm = '', hex = ''] = target.digest.split(':')
  const subjects = options.names.map((name) => ({ name: imagePurl(name, platform), digest: { [algorithm]: hex } }))
  const descriptor = await attestationManifest(assembly, attestations, { target, subjects, isArtifact: options.ociArtifact })
  const told = `exporting attestation manifest ${descriptor.digest}`
  vertex.progress(told, told, { isDone: true })
  return descriptor
}
