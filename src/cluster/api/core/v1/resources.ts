/** Compute resources, core/v1: what containers ask for and may use. Quantities are parsed by `#schema/quantity.ts`. */
import type { Out } from '#schema/vocabulary.ts'
import { listBy, mapOf, object, quantity, string } from '#schema/vocabulary.ts'

/** Quantities by resource name: cpu, memory, ephemeral-storage, pods, hugepages-… */
export const resourceList = mapOf(quantity())
export type ResourceList = Out<typeof resourceList>

export const resourceClaim = object(
  'core.v1.ResourceClaim',
  {
    name: string().proto(1).doc('Name of the claim in the pod.'),
    request: string().omitEmpty().proto(2),
  },
  { doc: 'A claim of the pod that the container uses.' },
)
export interface ResourceClaim extends Out<typeof resourceClaim> {}

export const resourceRequirements = object(
  'core.v1.ResourceRequirements',
  {
    limits: resourceList.omitEmpty().proto(1).doc('At most so much may be used.'),
    requests: resourceList.omitEmpty().proto(2).doc('At least so much is reserved; the limits unless given.'),
    claims: listBy(['name'], resourceClaim).omitEmpty().proto(3).doc('Claims of the pod that the container uses.'),
  },
  { doc: 'What is reserved and what may be used at most.' },
)
export interface ResourceRequirements extends Out<typeof resourceRequirements> {}

export const volumeResourceRequirements = object(
  'core.v1.VolumeResourceRequirements',
  {
    limits: resourceList.omitEmpty().proto(1).doc('At most so much.'),
    requests: resourceList.omitEmpty().proto(2).doc('At least so much.'),
  },
  { doc: 'How much storage is asked for.' },
)
export interface VolumeResourceRequirements extends Out<typeof volumeResourceRequirements> {}
