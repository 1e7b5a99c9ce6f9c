/**
 * The exporters of images: `moby` and `image` (the image store, and from there registries), `oci` and `docker` (archives of the client's).
 * Reference: moby/buildkit `exporter/containerimage`, `exporter/oci`.
 */
import { Fault } from '#base/fault.ts'
import { hostPlatform, parsePlatform, platformFit } from '#oci/platform.ts'
import { canonicalReference, parseReference, withDefaultTag } from '#oci/reference.ts'
import type { BuildResult } from '../contract/builds.ts'
import type { EngineBackend } from '../http/backend.ts'
import type { Session } from '../session/client-session.ts'
import type { Attributes } from './attributes.ts'
import type { Exporter } from './exporters.ts'
import type { Job } from './job.ts'
import { isTrue } from './options.ts'
import type { FrontendResult } from './result.ts'

export interface ImageExport {
  readonly exporters: readonly Exporter[]
  readonly backend: Pick<EngineBackend, 'images'>
}

export async function exportImages(job: Job, result: FrontendResult, { exporters, backend }: ImageExport): Promise<ReadonlyMap<string, string>> {
  if (result.platforms.length > 0 && exporters.some(({ type }) => type === 'docker')) throw new Fault('invalidArgument', 'docker exporter does not currently support exporting manifest lists')
  const facts = new Map<string, string>()
  const stored = exporters.filter(({ kind }) => kind === 'store')
  const names = stored.flatMap(({ attributes }) => namesOf(attributes)).map(canonicalName)
  const { images } = await result.image({ tags: result.platforms.length > 0 ? [] : names, keep: stored.length > 0 })
  const imageId = imageOfMachine(images)
  if (result.platforms.length > 0) for (const name of names) await backend.images.tag(imageId, name)
  facts.set('containerimage.config.digest', imageId).set('containerimage.digest', imageId)
  const allNames = exporters.flatMap(({ attributes }) => namesOf(attributes)).map(canonicalName)
  if (allNames.length > 0) facts.set('image.name', [...new Set(allNames)].join(','))
  for (const { attributes } of stored) if (isTrue(attributes, 'push')) await pushAll(job, namesOf(attributes), backend)
  for (const exporter of exporters) if (exporter.kind === 'archive') await sendArchive(job, exporter, { imageId, images: backend.images })
  return facts
}

/** What `docker run` takes of several: the image that runs here, or the first. */
function imageOfMachine(images: BuildResult['images']): string {
  const [best] = images.toSorted((a, b) => platformFit(hostPlatform, parsePlatform(b.platform)) - platformFit(hostPlatform, parsePlatform(a.platform)))
  if (best === undefined) throw new Fault('internal', 'the build became no image')
  return best.imageId
}

async function sendArchive(job: Job, { type, attributes, index }: Exporter, { imageId, images }: { readonly imageId: string } & Pick<EngineBackend, 'images'>): Promise<void> {
  const session = await job.session(undefined)
  await job.vertices.during(`exporting to ${type} image format`, async (vertex) => {
    const archive = await images.save([imageId], { names: namesOf(attributes).map(canonicalName), signal: job.signal })
    await session.sendArchive(archive, job.signal, { exporter: index })
    vertex.progress('sending tarball', '', { isDone: true })
  })
}

async function pushAll(job: Job, names: readonly string[], { images }: Pick<EngineBackend, 'images'>): Promise<void> {
  const session = await job.session(undefined)
  for (const name of names.map(canonicalName)) {
    await job.vertices.during(`pushing ${name}`, async (vertex) => {
      const auth = await credentialsFor(session, name, job.signal)
      await images.push(name, { ...(auth === undefined ? {} : { auth }), signal: job.signal, onProgress: ({ id = '', status, ...amount }) => vertex.progress(id === '' ? status : `${status} ${id}`, '', amount) })
    })
  }
}

function credentialsFor(session: Session, name: string, signal: AbortSignal): ReturnType<Session['credentials']> {
  const host = name.slice(0, name.indexOf('/'))
  return session.credentials(host === 'docker.io' ? 'https://index.docker.io/v1/' : host, signal)
}

export function namesOf(attributes: Attributes): readonly string[] {
  return (attributes.get('name') ?? '').split(',').map((name) => name.trim()).filter((name) => name !== '')
}

/** As BuildKit writes it: with its registry and tag. */
export function canonicalName(name: string): string {
  return canonicalReference(withDefaultTag(parseReference(name)))
}
