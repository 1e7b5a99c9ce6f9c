/**
 * SBOMs: a scanner image of the client's choice is run over what was built, and what it writes is attested (moby/buildkit
 * `docs/attestations/sbom-protocol.md`). The run is a build of its own, so that it has what builds have: cache, network, limits.
 */
import { Readable } from 'node:stream'
import { Fault, isFault } from '#base/fault.ts'
import { isRecord, parseJson } from '#base/json.ts'
import { canonicalReference, parseReference, withDefaultTag } from '#oci/reference.ts'
import { fromBytePath } from '../build/tree.ts'
import type { Vertices } from '../build/vertices.ts'
import type { BuiltImage } from '../contract/builds.ts'
import type { Image, Images } from '../contract/images.ts'
import type { BuildRequest, BuiltRoot, ImageBuilder } from '../http/backend.ts'
import type { Attestation } from './attestations.ts'
import type { Attributes } from './options.ts'

export interface SbomWish {
  /** The scanner, canonical. */
  readonly generator: string
  /** For the scanner, as `BUILDKIT_SCAN_NAME`. */
  readonly parameters: Attributes
}

export interface Scanning {
  readonly builder: ImageBuilder
  readonly images: Pick<Images, 'resolve' | 'pull'>
  readonly credentials: BuildRequest['credentials']
  readonly vertices: Vertices
  readonly signal: AbortSignal
}

const defaultGenerator = 'docker/buildkit-syft-scanner:stable-1'
const predicateType = 'https://spdx.dev/Document'
/** Of one document, as in BuildKit. */
const maxDocumentBytes = 40 << 20
const [destination, source] = ['/run/out', '/run/src/core/sbom']

export function sbomWishOf(fields: Attributes): SbomWish | undefined {
  if (fields.get('disabled') === 'true') return undefined
  const generator = fields.get('generator') ?? defaultGenerator
  if (generator === '') throw new Fault('invalidArgument', 'sbom scanner cannot be empty')
  return { generator: canonicalReference(withDefaultTag(parseReference(generator))), parameters: new Map([...fields].filter(([name]) => name !== 'generator')) }
}

/** By platform what the scanner wrote of each image, that of the image itself first. */
export async function scanImages(built: readonly BuiltImage[], wish: SbomWish, scanning: Scanning): Promise<ReadonlyMap<string, readonly Attestation[]>> {
  const scanner = await scannerImage(wish, scanning)
  const command = [...(scanner.config.config?.Entrypoint ?? []), ...(scanner.config.config?.Cmd ?? [])]
  if (command.length === 0) throw new Fault('invalidArgument', `scanner ${wish.generator} does not have cmd`)
  const found = new Map<string, readonly Attestation[]>()
  for (const image of built) found.set(image.platform, await scan(image, { ...scanning, wish, scanner, command }))
  return found
}

async function scannerImage({ generator }: SbomWish, { images, credentials, signal }: Scanning): Promise<Image> {
  try {
    return await images.resolve(generator)
  } catch (error) {
    if (!isFault(error, 'notFound')) throw error
    const host = generator.slice(0, generator.indexOf('/'))
    const auth = await credentials(host === 'docker.io' ? 'https://index.docker.io/v1/' : host)
    return images.pull(generator, { ...(auth === undefined ? {} : { auth }), leavesNames: true, signal })
  }
}

interface Scan extends Scanning {
  readonly wish: SbomWish
  readonly scanner: Image
  readonly command: readonly string[]
}

async function scan({ imageId, platform }: BuiltImage, { builder, credentials, vertices, signal, wish, scanner, command }: Scan): Promise<readonly Attestation[]> {
  return vertices.during(`[${platform}] generating sbom using ${wish.generator}`, async (vertex) => {
    let documents: readonly Attestation[] = []
    await builder.build({
      // An archive of nothing.
      context: { kind: 'archive', tar: Readable.from([Buffer.alloc(1024)]) },
      definition: scanDockerfile(wish, { scanner, command }),
      dockerfile: 'sbom',
      namedContexts: new Map([['core', { kind: 'built', imageId }], ['scanner', { kind: 'built', imageId: scanner.id }]]),
      tags: [], buildArgs: {}, labels: {}, target: '', noCache: false, pull: false, quiet: false, squash: false, remove: true, forceRemove: true, platforms: [], networkMode: 'default', extraHosts: [], cacheFrom: [],
      shmSizeBytes: undefined, memoryBytes: undefined, cpuShares: undefined, cpuQuotaUs: undefined, cpuPeriodUs: undefined, cpusetCpus: undefined, ulimits: [],
      credentials, signal,
      output: async ([root]) => {
        documents = root === undefined ? [] : await documentsOf(root)
      },
      onMessage: (message) => {
        if (message.kind === 'output') vertex.output(message.data, message.channel)
      },
    })
    return documents
  })
}

function scanDockerfile({ parameters }: SbomWish, { scanner, command }: Pick<Scan, 'scanner' | 'command'>): string {
  const variables = [['DESTINATION', destination], ['SOURCE', source], ...parameters].map(([name = '', value = '']) => `BUILDKIT_SCAN_${name}="${value.replace(/["\\$]/g, '\\$&')}"`)
  return [
    'FROM scanner AS scan',
    `ENV ${variables.join(' ')}`,
    `WORKDIR ${destination}`,
    `WORKDIR ${scanner.config.config?.WorkingDir || '/'}`,
    `RUN --mount=type=tmpfs,target=/tmp --mount=type=bind,from=core,target=${source} ${JSON.stringify(command)}`,
    'FROM scratch',
    `COPY --from=scan ${destination}/ /`,
    '',
  ].join('\n')
}

async function documentsOf(root: BuiltRoot): Promise<readonly Attestation[]> {
  const documents: Attestation[] = []
  const { entries, content } = await root.files()
  for (const entry of entries) {
    if (entry.type !== 'file') continue
    const name = fromBytePath(entry.path)
    if (entry.sizeBytes > maxDocumentBytes) throw new Fault('tooLarge', `${name} of the sbom scanner has ${entry.sizeBytes} bytes, at most ${maxDocumentBytes} are taken`)
    const chunks: Buffer[] = entry.sizeBytes === 0 ? [] : await Array.fromAsync(content(entry), (chunk) => Buffer.from(chunk))
    const statement = parseJson(Buffer.concat(chunks), `${name} of the sbom scanner`)
    if (!isRecord(statement) || statement['predicateType'] !== predicateType) throw new Fault('invalidArgument', `bundle entry ${name} does not match required predicate type ${predicateType}`)
    documents.push({ predicateType, predicate: statement['predicate'], fileName: name })
  }
  const isCore = ({ fileName }: Attestation): boolean => fileName.split('.', 1)[0] === 'sbom'
  return [...documents.filter(isCore), ...documents.filter((each) => !isCore(each))]
}
