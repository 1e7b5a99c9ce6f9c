/** Where a build's result goes (moby/buildkit `exporter/`): into the image store and registries, into archives and folders of the client. */
import { Fault } from '#base/fault.ts'
import type { EngineBackend } from '../http/backend.ts'
import { sbomWish, type Attestation } from '../exports/attestations.ts'
import { scanImages } from '../exports/sbom.ts'
import { exportFiles } from './export-files.ts'
import { exportImages } from './export-images.ts'
import { imageOptions } from '../exports/image-options.ts'
import { attestedBuild } from './frontend-solve.ts'
import type { Job } from './job.ts'
import type { FrontendResult } from './result.ts'
import type { TypedOptions } from './solve-request.ts'

/** `moby` is the image store as docker's driver calls it, `image` as others do. */
const kinds: Readonly<Record<string, Exporter['kind']>> = { moby: 'store', image: 'store', docker: 'archive', oci: 'archive', local: 'root', tar: 'root' }

export interface Exporter extends TypedOptions {
  readonly kind: 'store' | 'archive' | 'root'
  /** Among the build's exporters: by it the client knows where to put what comes. */
  readonly index: number
}

function exportersOf(asked: readonly TypedOptions[]): readonly Exporter[] {
  return asked.map(({ type, attributes }, index) => {
    const kind = Object.hasOwn(kinds, type) ? kinds[type] : undefined
    if (kind === undefined) throw new Fault('invalidArgument', `exporter "${type}" could not be found`)
    return { type, attributes, kind, index }
  })
}

/** Refused before anything is built. */
export function checkExporters(asked: readonly TypedOptions[]): void {
  for (const { kind, type, attributes } of exportersOf(asked)) {
    if (kind === 'archive' && attributes.get('tar') === 'false') throw new Fault('unimplemented', `the ${type} exporter writes an archive here, no folder: leave tar=false away`)
    if (kind !== 'root') imageOptions(attributes)
  }
}

/** Makes what was asked for. Answers the facts that clients are told about it. */
export async function exportResult(job: Job, result: FrontendResult, backend: Pick<EngineBackend, 'images' | 'builder'>): Promise<ReadonlyMap<string, string>> {
  const exporters = exportersOf(job.request.exporters)
  const scans = exporters.length === 0 ? undefined : await scansOf(job, result, backend)
  const attested = { ...attestedBuild(job, result), ...(scans === undefined ? {} : { scans }) }
  const facts = new Map<string, string>()
  const images = exporters.filter(({ kind }) => kind !== 'root')
  if (images.length > 0 || result.isLinked) for (const fact of await exportImages(job, result, { exporters: images, images: backend.images, attested })) facts.set(...fact)
  else if (exporters.length === 0) await result.evaluate()
  for (const exporter of exporters) if (exporter.kind === 'root') await exportFiles(job, result, { exporter, attested })
  const { cacheManifest } = result
  if (cacheManifest !== undefined) facts.set('cache.manifest', JSON.stringify({ mediaType: cacheManifest.mediaType, digest: cacheManifest.digest, size: cacheManifest.sizeBytes }))
  return facts
}

/** What a scanner finds in each platform's image. */
async function scansOf(job: Job, result: FrontendResult, { builder, images }: Pick<EngineBackend, 'images' | 'builder'>): Promise<ReadonlyMap<string, readonly Attestation[]> | undefined> {
  const wish = sbomWish(result.attributes)
  if (wish === undefined || builder === undefined) return undefined
  const session = await job.session(undefined)
  const built = await result.image()
  return scanImages(built.images, wish, { builder, images, credentials: (host) => session.credentials(host, job.signal), vertices: job.vertices, signal: job.signal })
}
