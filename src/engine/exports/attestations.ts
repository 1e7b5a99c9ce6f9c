/**
 * What clients want attested of a build (`attest:provenance=mode=max`, `attest:sbom=generator=…`), and the manifests in which an index
 * carries it (moby/buildkit `docs/attestations/attestation-storage.md`).
 */
import { Fault } from '#base/fault.ts'
import { mediaTypes, writeDescriptor, type Descriptor } from '#oci/descriptor.ts'
import type { IndexAssembly } from '../contract/images.ts'
import type { Attributes } from './options.ts'
import { sbomWishOf, type SbomWish } from './sbom.ts'
import { isTrue } from './options.ts'

export interface ProvenanceWish {
  readonly mode: 'min' | 'max'
  readonly version: 'v1' | 'v0.2'
  /** Only where an index is made anyway: what clients ask for by themselves. */
  readonly isInlineOnly: boolean
  readonly builderId: string
  readonly isReproducible: boolean
}

/** A statement's predicate (in-toto attestation framework), before its subject is known. */
export interface Attestation {
  readonly predicateType: string
  readonly predicate: unknown
  /** Of the file that it becomes where files are exported. */
  readonly fileName: string
}

const prefixes = ['attest:', 'build-arg:BUILDKIT_ATTEST_']

/** By type what is said of the attestations that are wanted. */
function wishedTypes(attributes: Attributes): ReadonlyMap<string, Attributes> {
  const wished = new Map<string, Attributes>()
  for (const [name, value] of attributes) {
    const prefix = prefixes.find((each) => name.startsWith(each))
    if (prefix === undefined) continue
    const type = name.slice(prefix.length).toLowerCase()
    if (type !== 'sbom' && type !== 'provenance') throw new Fault('invalidArgument', `unknown attestation type "${type}"`)
    wished.set(type, fieldsOf(value))
  }
  return wished
}

/** Undefined: none is wanted. */
export function provenanceWish(attributes: Attributes): ProvenanceWish | undefined {
  const fields = wishedTypes(attributes).get('provenance')
  return fields === undefined ? undefined : wishOf(fields)
}

/** Undefined: none is wanted. */
export function sbomWish(attributes: Attributes): SbomWish | undefined {
  const fields = wishedTypes(attributes).get('sbom')
  return fields === undefined ? undefined : sbomWishOf(fields)
}

function fieldsOf(text: string): Attributes {
  return new Map(text.split(',').filter((field) => field !== '').map((field) => {
    const equals = field.indexOf('=')
    return equals < 0 ? [field, ''] : [field.slice(0, equals), field.slice(equals + 1)]
  }))
}

function wishOf(fields: Attributes): ProvenanceWish | undefined {
  if (isTrue(fields, 'disabled')) return undefined
  const mode = fields.get('mode') || 'max'
  const version = fields.get('version') || 'v1'
  if (mode !== 'min' && mode !== 'max' && mode !== 'full') throw new Fault('invalidArgument', `invalid mode "${mode}"`)
  if (version !== 'v1' && version !== 'v0.2') throw new Fault('invalidArgument', `invalid provenance SLSA version: ${version}`)
  return { mode: mode === 'min' ? 'min' : 'max', version, isInlineOnly: isTrue(fields, 'inline-only'), builderId: fields.get('builder-id') ?? '', isReproducible: isTrue(fields, 'reproducible') }
}

export interface Subject {
  readonly name: string
  readonly digest: Readonly<Record<string, string>>
}

/** https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md */
export function statementOf({ predicateType, predicate }: Attestation, subject: readonly Subject[]): object {
  return { _type: 'https://in-toto.io/Statement/v1', predicateType, subject, predicate }
}

const statementType = 'application/vnd.in-toto+json'

export interface AttestationManifest {
  /** The manifest that they are about. */
  readonly target: Descriptor
  readonly subjects: readonly Subject[]
  /** As an artifact that refers to its target, or as clients before OCI 1.1 expect it: an image. */
  readonly isArtifact: boolean
}

/** Stores the attestations with their manifest. Answers its entry for the index. */
export async function attestationManifest(assembly: IndexAssembly, attestations: readonly Attestation[], { target, subjects, isArtifact }: AttestationManifest): Promise<Descriptor> {
  const layers: Descriptor[] = []
  for (const each of attestations) {
    layers.push({ mediaType: statementType, ...(await assembly.blob(Buffer.from(JSON.stringify(statementOf(each, subjects))))), annotations: { 'in-toto.io/predicate-type': each.predicateType } })
  }
  const { mediaType, digest, size } = target
  const config = isArtifact ? Buffer.from('{}') : Buffer.from(JSON.stringify({ architecture: 'unknown', os: 'unknown', config: {}, rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.digest) } }))
  const stored = await assembly.blob(config)
  const manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    ...(isArtifact ? { artifactType: 'application/vnd.docker.attestation.manifest.v1+json' } : {}),
    config: isArtifact ? { mediaType: mediaTypes.ociEmpty, ...stored, data: config.toString('base64') } : { mediaType: mediaTypes.ociConfig, ...stored },
    layers: layers.map(writeDescriptor),
    ...(isArtifact ? { subject: { mediaType, digest, size } } : {}),
  }
  return {
    mediaType: mediaTypes.ociManifest,
    ...(await assembly.blob(Buffer.from(JSON.stringify(manifest)))),
    annotations: { 'vnd.docker.reference.digest': digest, 'vnd.docker.reference.type': 'attestation-manifest' },
    platform: { architecture: 'unknown', os: 'unknown' },
  }
}
