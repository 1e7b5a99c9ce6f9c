/** What is attested of a build: where, and with which facts. */
import { hostPlatform, platformText } from '#oci/platform.ts'
import type { BuildOrigin } from '../contract/builds.ts'
import { provenanceWish, sbomWish, type Attestation, type ProvenanceWish } from './attestations.ts'
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
  /** By platform what was found in the files; absent: nothing was looked for. */
  readonly scans?: ReadonlyMap<string, readonly Attestation[]>
}

/** Stored with an index, or a file beside others, for which clients do not ask by themselves. */
export type Place = 'index' | 'file'

/** Undefined: no provenance is wanted there. */
function wishedProvenance({ attributes, isMultiPlatform }: Pick<AttestedBuild, 'attributes' | 'isMultiPlatform'>, place: Place): ProvenanceWish | undefined {
  const wish = provenanceWish(attributes)
  return wish?.isInlineOnly === true && !(place === 'index' && isMultiPlatform) ? undefined : wish
}

/** Whether anything is to be attested there. */
export function isAttested(build: Pick<AttestedBuild, 'attributes' | 'isMultiPlatform'>, place: Place): boolean {
  return wishedProvenance(build, place) !== undefined || sbomWish(build.attributes) !== undefined
}

export function attestationsOf(build: AttestedBuild, origin: BuildOrigin & { readonly platform: string }, place: Place): readonly Attestation[] {
  const wish = wishedProvenance(build, place)
  const { invocationId, startedNs, nowNs, attributes, scans } = build
  const found = scans?.get(origin.platform) ?? []
  if (wish === undefined) return found
  return [...found, provenance({ invocationId, startedNs, finishedNs: nowNs(), attributes, ...origin, builderPlatform: platformText(hostPlatform) }, wish)]
}
