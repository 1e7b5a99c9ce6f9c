/**
 * What a kind gets from the server beyond storage and validation: allocation, admission, graces. Kinds without a strategy
 * get `plainStrategy`. Each strategy is a file in `strategies/`; it sees the rest of the cluster only through `Surroundings`.
 */
import type { Clock } from '#base/clock.ts'
import type { Random } from '#base/random.ts'
import type { JsonObject } from '#schema/json.ts'
import type { UserInfo } from '../contract/authorizer.ts'

/** The current state of the cluster, read from the caches. */
export interface Surroundings {
  readonly clock: Clock
  readonly random: Random
  /** A current object, frozen; undefined when there is none (or no such kind). */
  object(id: { readonly group: string; readonly plural: string }, ref: { readonly namespace: string; readonly name: string }): JsonObject | undefined
  objects(id: { readonly group: string; readonly plural: string }): Iterable<JsonObject>
  /** The pods that are bound to a node. */
  podsOn(node: string): Iterable<JsonObject>
}

export interface AdmissionRequest {
  readonly operation: 'create' | 'update'
  readonly user: UserInfo
  /** '' is the object itself. */
  readonly subresource: string
  readonly namespace: string
  readonly previous: JsonObject | undefined
  readonly surroundings: Surroundings
}

export interface DeletionRequest {
  /** As the client asked, undefined when it did not. */
  readonly gracePeriodSeconds: number | undefined
  readonly user: UserInfo
}

export interface Strategy {
  /** After defaults, before validation: completes or refuses (a thrown Fault). Returns the object to store; defaults run again. */
  readonly admit?: (object: JsonObject, request: AdmissionRequest) => JsonObject
  /** Writes of this kind run one after another, so that what `admit` allocates from current state is allocated once. */
  readonly serialWrites?: boolean
  /** Status writes may change labels and annotations too, as kubelets do with nodes and pods. */
  readonly statusWritesMetadata?: boolean
  /** Throws to refuse a deletion. */
  readonly refuseDelete?: (object: JsonObject, request: DeletionRequest) => void
  /** Seconds between the deletion request and removal; somebody (the kubelet) must then delete with grace 0. Absent: 0. */
  readonly deletionGraceSeconds?: (object: JsonObject, request: DeletionRequest) => number
  /** Further changes as deletion begins, e.g. a Namespace's phase. */
  readonly beginDeletion?: (object: JsonObject) => JsonObject
  /** More that must be finished before removal, beyond metadata.finalizers. */
  readonly holdsDeletion?: (object: JsonObject) => boolean
  /** A deletion that removes at once answers the object, not a Status. */
  readonly answersDeleted?: boolean
  /** The store seals its values (encryption at rest). */
  readonly sealed?: boolean
  /** For the Warning header. */
  readonly warnings?: (object: JsonObject) => readonly string[]
}

export const plainStrategy: Strategy = {}
