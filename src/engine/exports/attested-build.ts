/** What is attested of a build: where, and with which facts. */
import { hostPlatform, platformText } from '#oci/platform.ts'
import type { BuildOrigin } from '../contract/builds.ts'
import { provenanceWish, type Attestation, type ProvenanceWish } from './attestations.ts'
import type { Attributes } from './options.ts'
import { provenance } from './provenance.ts'

export interface AttestedBuild {
  /** By which its client knows it. */
  readonly invocationId: string
  readonly startedNs: bigint
  readonly nowNs: () => bigint
  /** What was asked of the frontend. */
  readonly attributes: Attributes
  /** An index is made in any case. */
  readonly isMultiPlatform: boolean
}

/** Stored with an index, or a file beside others, for which clients do not ask by themselves. */
export type Place = 'index' | 'file'

/** Undefined: no provenance is wanted there. */
export function wishedProvenance({ attributes, isMultiPlatform }: Pick<AttestedBuild, 'attributes' | 'isMultiPlatform'>, place: Place): ProvenanceWish | undefined {
  const wish = provenanceWish(attributes)
  return wish?.isInlineOnly === true && !(place === 'index' && isMultiPlatform) ? undefined : wish
}

export function attestationsOf(build: AttestedBuild, origin: BuildOrigin, place: Place): readonly Attestation[] {
  const wish = wishedProvenance(build, place)
  if (wish === undefined) return []
  const { invocationId, startedNs, nowNs, attributes } = build
  return [provenance({ invocationId, startedNs, finishedNs: nowNs(), attributes, ...origin, builderPlatform: platformText(hostPlatform) }, wish)]
}
