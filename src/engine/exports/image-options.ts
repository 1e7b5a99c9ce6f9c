/** What clients say of an exporter of images (moby/buildkit `exporter/containerimage/exptypes/keys.go`). */
import { Fault } from '#base/fault.ts'
import { canonicalReference, parseReference, withDefaultTag } from '#oci/reference.ts'
import type { ManifestFormat } from '../contract/images.ts'
import { annotationsOf, hasAny, type Annotations } from './annotations.ts'
import type { Attributes } from './options.ts'
import { isTrue } from './options.ts'

export interface ImageOptions {
  /** Canonical, with tags. */
  readonly names: readonly string[]
  readonly push: boolean
  readonly annotations: Annotations
  readonly format: ManifestFormat
  /** The client has said how layers are compressed, or which format is meant. */
  readonly isFormGiven: boolean
  /** Layers as registries have them (gzip); else as they lie here. */
  readonly compressed: boolean
  /** Attestations as artifacts that refer to their image (OCI 1.1). */
  readonly ociArtifact: boolean
}

export function imageOptions(attributes: Attributes): ImageOptions {
  if (isTrue(attributes, 'push-by-digest')) throw new Fault('unimplemented', 'push-by-digest is not supported: images are pushed by their names')
  const compression = attributes.get('compression')
  if (compression !== undefined && compression !== 'gzip' && compression !== 'uncompressed') throw new Fault('unimplemented', `compression=${compression} is not supported; expected gzip or uncompressed`)
  const format = isTrue(attributes, 'oci-mediatypes', true) ? 'oci' : 'docker'
  const ociArtifact = isTrue(attributes, 'oci-artifact', format === 'oci')
  if (ociArtifact && format === 'docker') throw new Fault('invalidArgument', 'exporter option "oci-artifact=true" conflicts with "oci-mediatypes=false"')
  const annotations = annotationsOf(attributes)
  if (format === 'docker' && [annotations.index, annotations.indexDescriptor, annotations.manifestDescriptor('')].some(hasAny)) throw new Fault('invalidArgument', 'cannot export annotations with "oci-mediatypes=false"')
  return {
    names: namesOf(attributes).map(canonicalName),
    push: isTrue(attributes, 'push'),
    annotations,
    format,
    isFormGiven: attributes.has('oci-mediatypes') || compression !== undefined,
    compressed: compression !== 'uncompressed',
    ociArtifact,
  }
}

function namesOf(attributes: Attributes): readonly string[] {
  return (attributes.get('name') ?? '').split(',').map((name) => name.trim()).filter((name) => name !== '')
}

/** As BuildKit writes it: with its registry and tag. */
function canonicalName(name: string): string {
  return canonicalReference(withDefaultTag(parseReference(name)))
}
