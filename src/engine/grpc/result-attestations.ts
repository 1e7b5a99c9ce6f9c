/** What is attested of a result: to whom, and with which facts. */
import { hostPlatform, platformText } from '#oci/platform.ts'
import type { BuildMaterial } from '../contract/builds.ts'
import { provenanceWish, type Attestation, type ProvenanceWish } from './attestations.ts'
import type { Job } from './job.ts'
import { provenance } from './provenance.ts'
import type { FrontendResult } from './result.ts'

export interface Attested {
  readonly materials: readonly BuildMaterial[]
  /** Stored with an index, where that is made anyway; else as a file beside others, for which clients do not ask by themselves. */
  readonly inline: boolean
}

/** Undefined: nothing is to be attested. */
export function wishedAttestations(result: FrontendResult, { inline }: Pick<Attested, 'inline'>): ProvenanceWish | undefined {
  const wish = provenanceWish(result.attributes)
  return wish?.isInlineOnly === true && !(inline && result.platforms.length > 0) ? undefined : wish
}

export function attestationsOf(job: Job, result: FrontendResult, { materials, inline }: Attested): readonly Attestation[] {
  const wish = wishedAttestations(result, { inline })
  if (wish === undefined) return []
  return [provenance({
    invocationId: job.request.ref, startedNs: job.startedNs, finishedNs: job.nowNs(), attributes: result.attributes, materials,
    definition: result.definition, builderPlatform: platformText(hostPlatform),
  }, wish)]
}
