/**
 * The exporters of images: `moby` and `image` (the image store, and from there registries), `oci` and `docker` (archives of the client's).
 * Reference: moby/buildkit `exporter/containerimage`, `exporter/oci`.
 */
import { Fault } from '#base/fault.ts'
import { writeDescriptor, type Descriptor } from '#oci/descriptor.ts'
import { hostPlatform, parsePlatform, platformFit } from '#oci/platform.ts'
import type { Vertex } from '../build/vertices.ts'
import type { BuiltImage } from '../contract/builds.ts'
import type { Images, IndexAssembly } from '../contract/images.ts'
import type { Session } from '../session/client-session.ts'
import type { Exporter } from './exporters.ts'
import { assemble, needsAssembly } from '../exports/image-assembly.ts'
import { imageOptions, type ImageOptions } from '../exports/image-options.ts'
import type { Job } from './job.ts'
import { attestationsOf, isAttested, type AttestedBuild } from '../exports/attested-build.ts'
import type { FrontendResult } from './result.ts'

export interface ImageExport {
  readonly exporters: readonly Exporter[]
  readonly images: Pick<Images, 'assembleIndex' | 'push' | 'save'>
  readonly attested: AttestedBuild
}

interface Planned extends Exporter {
  readonly options: ImageOptions
  /** More than the image as the store has it: an index, annotations, a form of the client's choice. */
  readonly isAssembled: boolean
}

export async function exportImages(job: Job, result: FrontendResult, { exporters, images, attested }: ImageExport): Promise<ReadonlyMap<string, string>> {
  const planned = exporters.map((exporter) => plan(exporter, result))
  const stored = planned.filter(({ kind }) => kind === 'store')
  const plain = stored.filter(({ isAssembled }) => !isAssembled)
  const built = await result.image({ tags: plain.flatMap(({ options }) => options.names), keep: plain.length > 0 || stored.some(({ options }) => options.names.length === 0) })
  const facts = new Map<string, string>()
  if (planned.length === 0) factsOfImage(imageOfMachine(built.images).imageId, facts)
  for (const exporter of planned) await (exporter.isAssembled ? exportAssembled : exportPlain)(job, exporter, { result, built: built.images, images, attested, facts })
  const allNames = planned.flatMap(({ options }) => options.names)
  if (allNames.length > 0) facts.set('image.name', [...new Set(allNames)].join(','))
  return facts
}

function plan(exporter: Exporter, result: FrontendResult): Planned {
  const options = imageOptions(exporter.attributes)
  const isMultiPlatform = result.platforms.length > 0
  const hasAttestations = isAttested({ attributes: result.attributes, isMultiPlatform }, 'index')
  if (exporter.type === 'docker' && (isMultiPlatform || hasAttestations)) throw new Fault('invalidArgument', 'docker exporter does not currently support exporting manifest lists')
  // An OCI archive has what a registry would have: compressed layers.
  return { ...exporter, options, isAssembled: exporter.type === 'oci' || needsAssembly(options, result.targets, { isMultiPlatform, isAttested: hasAttestations }) }
}

interface Exporting {
  readonly result: FrontendResult
  readonly built: readonly BuiltImage[]
  readonly images: ImageExport['images']
  readonly attested: AttestedBuild
  /** Told to the client. */
  readonly facts: Map<string, string>
}

/** What `docker run` takes of several: the image that runs here, or the first. */
function imageOfMachine(images: readonly BuiltImage[]): BuiltImage {
  const [best] = images.toSorted((a, b) => platformFit(hostPlatform, parsePlatform(b.platform)) - platformFit(hostPlatform, parsePlatform(a.platform)))
  if (best === undefined) throw new Fault('internal', 'the build became no image')
  return best
}

function factsOfImage(imageId: string, facts: Map<string, string>): void {
  facts.set('containerimage.config.digest', imageId).set('containerimage.digest', imageId)
}

// ---- the image as the store has it -----------------------------------------------------------------------------------

async function exportPlain(job: Job, exporter: Planned, { built, images, facts }: Exporting): Promise<void> {
  const { imageId } = imageOfMachine(built)
  factsOfImage(imageId, facts)
  if (exporter.kind === 'store' && exporter.options.push) {
    // Who deploys by digest asks a registry for it.
    for (const digest of await pushAll(job, exporter.options.names, { images })) facts.set('containerimage.digest', digest)
  }
  if (exporter.kind === 'archive') await job.vertices.during(`exporting to ${exporter.type} image format`, (vertex) => sendArchive(job, exporter, { vertex, open: () => images.save([imageId], { names: exporter.options.names, signal: job.signal }) }))
}

// ---- what is made of it ----------------------------------------------------------------------------------------------

async function exportAssembled(job: Job, exporter: Planned, { result, built, images, attested, facts }: Exporting): Promise<void> {
  const { options, kind, type } = exporter
  using assembly = images.assembleIndex()
  const target = await job.vertices.during(kind === 'store' ? 'exporting to image' : `exporting to ${type} image format`, async (vertex) => {
    const made = await assemble(assembly, built, { options, isMultiPlatform: result.platforms.length > 0, attestationsOf: (image) => attestationsOf(attested, image, 'index'), vertex, signal: job.signal })
    if (kind === 'store') await nameTarget(assembly, made, { names: options.names, vertex })
    else await sendArchive(job, exporter, { vertex, open: () => images.save([], { target: made, names: options.names, signal: job.signal }) })
    return made
  })
  const { imageId } = imageOfMachine(built)
  // Without a name nothing is left of the index but its image.
  if (kind === 'store' && options.names.length === 0) factsOfImage(imageId, facts)
  else factsOfTarget(target, facts)
  if (built.length === 1) facts.set('containerimage.config.digest', imageId)
  if (kind === 'store' && options.push) await pushAll(job, options.names, { images, target })
}

async function nameTarget(assembly: IndexAssembly, target: Descriptor, { names, vertex }: { readonly names: readonly string[]; readonly vertex: Vertex }): Promise<void> {
  await assembly.name(target, names)
  for (const name of names) vertex.progress(`naming to ${name}`, `naming to ${name}`, { isDone: true })
}

function factsOfTarget(target: Descriptor, facts: Map<string, string>): void {
  facts.set('containerimage.digest', target.digest).set('containerimage.descriptor', Buffer.from(JSON.stringify(writeDescriptor(target))).toString('base64'))
}

// ---- where it goes ---------------------------------------------------------------------------------------------------

async function sendArchive(job: Job, { index }: Exporter, { vertex, open }: { readonly vertex: Vertex; readonly open: () => ReturnType<Images['save']> }): Promise<void> {
  const session = await job.session(undefined)
  await session.sendArchive(await open(), job.signal, { exporter: index })
  vertex.progress('sending tarball', '', { isDone: true })
}

/** Answers under which digests registries hold it: one, but for names in registries that are this machine's and others'. */
async function pushAll(job: Job, names: readonly string[], { images, target }: { readonly images: Pick<Images, 'push'>; readonly target?: Descriptor }): Promise<readonly string[]> {
  const session = await job.session(undefined)
  const digests: string[] = []
  for (const name of names) {
    await job.vertices.during(`pushing ${name}`, async (vertex) => {
      const auth = await credentialsFor(session, name, job.signal)
      const { digest } = await images.push(name, {
        ...(auth === undefined ? {} : { auth }), ...(target === undefined ? {} : { target }), signal: job.signal,
        onProgress: ({ id = '', status, ...amount }) => vertex.progress(id === '' ? status : `${status} ${id}`, '', amount),
      })
      digests.push(digest)
    })
  }
  return digests
}

function credentialsFor(session: Session, name: string, signal: AbortSignal): ReturnType<Session['credentials']> {
  const host = name.slice(0, name.indexOf('/'))
  return session.credentials(host === 'docker.io' ? 'https://index.docker.io/v1/' : host, signal)
}
