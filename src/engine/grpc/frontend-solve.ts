/** Results of frontends in the service: made for a job, held by it and by the jobs whose contexts they are. */
import { Fault } from '#base/fault.ts'
import { randomHex, systemRandom } from '#base/random.ts'
import type { ProtoMessage } from '#base/proto-wire.ts'
import type { AttestedBuild } from '../exports/attested-build.ts'
import type { BuildAnswer } from '../contract/builds.ts'
import type { Attributes } from '../exports/options.ts'
import type { ContextSources } from './contexts.ts'
import { resultIdOf, sourceUrlOf } from './definitions.ts'
import { fetchedResult, solveFrontend } from './frontend.ts'
import type { Job } from './job.ts'
import { FrontendResult } from './result.ts'
import type { BuildService } from './service.ts'

export interface FrontendRequest {
  readonly frontend: string
  readonly attributes: Attributes
  readonly inputs: ContextSources['inputs']
  /** Instead of a frontend. */
  readonly definition?: ProtoMessage
}

/** Results that one job may make: a frontend makes one for each thing that it asks. */
const maxResults = 100

export function heldResult({ results }: BuildService, id: string): FrontendResult {
  const result = results.get(id)
  if (result === undefined) throw new Fault('notFound', `no such ref: ${id}`)
  return result
}

/** What clients name: a result, or what it is for one platform. */
export function heldRef(service: BuildService, ref: string): { readonly result: FrontendResult; readonly index: number } {
  const [id = '', index = '0'] = ref.split('.')
  return { result: heldResult(service, id), index: Number(index) }
}

/** The names that clients are given for the platforms of a result. */
export function refsOf({ id, platforms }: FrontendResult): readonly { readonly ref: string; readonly platform: string }[] {
  return platforms.map((platform, index) => ({ ref: `${id}.${index}`, platform }))
}

async function imageOf(service: BuildService, ref: string): Promise<string> {
  const { result, index } = heldRef(service, ref)
  const image = (await result.image()).images[index]
  if (image === undefined) throw new Fault('notFound', `no such ref: ${ref}`)
  return image.imageId
}

export function attestedBuild(job: Job, { attributes, platforms }: FrontendResult): AttestedBuild {
  return { invocationId: job.request.ref, startedNs: job.startedNs, nowNs: job.nowNs, attributes, isMultiPlatform: platforms.length > 0 }
}

const owners = new WeakMap<Job, FrontendResult[]>()

/** What the job's requests make and hold from here on is let go of with the answer. */
export function ownedResults(service: BuildService, job: Job): AsyncDisposable {
  const owned: FrontendResult[] = []
  owners.set(job, owned)
  return {
    async [Symbol.asyncDispose]() {
      owners.delete(job)
      for (const result of owned) if (await result.release()) service.results.delete(result.id)
    },
  }
}

export async function solveFor(service: BuildService, job: Job, { frontend, attributes, inputs, definition }: FrontendRequest): Promise<FrontendResult | BuildAnswer> {
  const { backend, results } = service
  const { builder } = backend
  job.record.attributes = attributes
  const owned = owners.get(job)
  if (owned === undefined || builder === undefined) throw new Fault('canceled', 'the build is over')
  if (owned.length >= maxResults) throw new Fault('resourceExhausted', `a build makes at most ${maxResults} results`)
  // Those of other builds stay until this one is over.
  for (const input of inputs.values()) {
    const { result } = heldRef(service, resultIdOf(input))
    result.hold()
    owned.push(result)
  }
  const id = randomHex(systemRandom, 25)
  const engine = { images: backend.images, builder }
  const solved = definition !== undefined && frontend === '' ? fetchedResult(job, sourceUrlOf(definition), { id, backend: engine }) : await solveFrontend(job, frontend, { id, backend: engine, attributes, inputs, imageOf: (ref) => imageOf(service, ref) })
  if (!(solved instanceof FrontendResult)) return solved
  results.set(id, solved)
  owned.push(solved)
  return solved
}
