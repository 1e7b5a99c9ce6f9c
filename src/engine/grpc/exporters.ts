/**
 * Where a build's result goes (moby/buildkit `exporter/`): into the image store and from there to a registry, into archives and folders
 * of the client.
 */
import { Fault } from '#base/fault.ts'
import { canonicalReference, parseReference, withDefaultTag } from '#oci/reference.ts'
import type { EngineBackend } from '../http/backend.ts'
import type { Session } from '../session/client-session.ts'
import type { Job } from './job.ts'
import type { FrontendResult } from './result.ts'
import type { TypedOptions } from './solve-request.ts'

/** `moby` is the image store as docker's driver calls it, `image` as others do. */
const kinds: Readonly<Record<string, 'store' | 'archive' | 'root'>> = { moby: 'store', image: 'store', docker: 'archive', oci: 'archive', local: 'root', tar: 'root' }

/** Refused before anything is built. */
export function checkExporters(exporters: readonly TypedOptions[]): void {
  for (const { type, attributes } of exporters) {
    if (!Object.hasOwn(kinds, type)) throw new Fault('invalidArgument', `exporter "${type}" could not be found`)
    if (kinds[type] === 'archive' && attributes.get('tar') === 'false') throw new Fault('unimplemented', `the ${type} exporter writes an archive here, no folder: leave tar=false away`)
    if (isTrue(attributes.get('push-by-digest'))) throw new Fault('unimplemented', 'push-by-digest is not supported: images are pushed by their names')
    for (const name of namesOf(attributes)) canonicalName(name)
  }
}

/** Makes what was asked for. Answers the facts that clients are told about it. */
export async function exportResult(job: Job, result: FrontendResult, backend: Pick<EngineBackend, 'images'>): Promise<ReadonlyMap<string, string>> {
  const exporters = job.request.exporters.map((exporter, index) => ({ ...exporter, index, kind: kinds[exporter.type] }))
  const facts = new Map<string, string>()
  const stored = exporters.filter(({ kind }) => kind === 'store')
  if (exporters.some(({ kind }) => kind !== 'root') || result.isLinked) {
    const names = stored.flatMap(({ attributes }) => namesOf(attributes)).map(canonicalName)
    const { imageId } = await result.image({ tags: names, keep: stored.length > 0 })
    facts.set('containerimage.config.digest', imageId).set('containerimage.digest', imageId)
    const allNames = exporters.flatMap(({ attributes }) => namesOf(attributes)).map(canonicalName)
    if (allNames.length > 0) facts.set('image.name', [...new Set(allNames)].join(','))
    for (const { attributes } of stored) if (isTrue(attributes.get('push'))) await pushAll(job, namesOf(attributes), backend)
    for (const exporter of exporters) if (exporter.kind === 'archive') await sendArchive(job, exporter, { imageId, images: backend.images })
  } else if (exporters.length === 0) await result.evaluate()
  for (const { kind, type, attributes, index } of exporters) {
    if (kind !== 'root') continue
    const session = await job.session(undefined)
    await result.handOver((built) =>
      job.vertices.during(`exporting to client ${type === 'local' ? 'directory' : 'tarball'}`, async (vertex) => {
        const target = { exporter: index, replace: attributes.get('mode') === 'delete' }
        if (type === 'local') await session.sendFiles(built, job.signal, target)
        else await session.sendArchive(await built.tar(), job.signal, target)
        vertex.progress(type === 'local' ? 'copying files' : 'sending tarball', '', { isDone: true })
      }),
    )
  }
  const { cacheManifest } = result
  if (cacheManifest !== undefined) facts.set('cache.manifest', JSON.stringify({ mediaType: cacheManifest.mediaType, digest: cacheManifest.digest, size: cacheManifest.sizeBytes }))
  return facts
}

async function sendArchive(job: Job, { type, attributes, index }: TypedOptions & { readonly index: number }, { imageId, images }: { readonly imageId: string } & Pick<EngineBackend, 'images'>): Promise<void> {
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

function namesOf(attributes: ReadonlyMap<string, string>): readonly string[] {
  return (attributes.get('name') ?? '').split(',').map((name) => name.trim()).filter((name) => name !== '')
}

/** As BuildKit writes it: with its registry and tag. */
function canonicalName(name: string): string {
  return canonicalReference(withDefaultTag(parseReference(name)))
}

function isTrue(text: string | undefined): boolean {
  return text === 'true' || text === '1'
}
