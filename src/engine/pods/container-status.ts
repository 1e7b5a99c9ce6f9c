/** From the engine's container to what the node agent reads. */
import type { ContainerStatus } from '#cluster/contract/runtime.ts'
import type { Container } from '../contract/containers.ts'
import type { PodNote } from './container-spec.ts'

/** undefined: no container of ours (its note is missing). */
export function noteOf(container: Container): PodNote | undefined {
  const note = container.spec.extension?.['pod']
  if (typeof note !== 'object' || note === null || !('sandboxId' in note) || !('pod' in note) || !('name' in note)) return undefined
  // Written by container-spec.ts and given back untouched.
  return note as PodNote
}

const msPerNs = 1_000_000n

function ms(ns: bigint): number {
  return Number(ns / msPerNs)
}

export function containerStatus(container: Container, note: PodNote): ContainerStatus {
  const { state } = container
  return {
    id: container.id,
    sandboxId: note.sandboxId,
    pod: note.pod,
    name: note.name,
    attempt: note.attempt,
    createdAtMs: ms(container.createdAtNs),
    ...stateOf(container),
    ...(state.startedAtNs > 0n ? { startedAtMs: ms(state.startedAtNs) } : {}),
    ...(state.error === '' ? {} : { message: state.error }),
    imageId: container.imageId,
    imageReference: note.imageReference,
    logPath: container.paths.log,
    labels: container.spec.labels ?? {},
    annotations: note.annotations,
  }
}

/** Docker's code for "the engine refused"; a pod shows 128 where it is not clear what went wrong. */
const engineRefused = 125
const unclear = 128

function stateOf({ state, createdAtNs }: Container): Pick<ContainerStatus, 'state' | 'finishedAtMs' | 'exitCode' | 'oomKilled'> {
  switch (state.status) {
    case 'created':
      // A start that failed leaves it `created` in Docker's eyes; for a pod that was a run with an end.
      return state.error === '' ? { state: 'created' } : { state: 'exited', finishedAtMs: ms(state.finishedAtNs > 0n ? state.finishedAtNs : createdAtNs), exitCode: state.exitCode === engineRefused ? unclear : state.exitCode, oomKilled: false }
    case 'running':
    case 'paused':
      return { state: 'running' }
    case 'restarting':
    case 'removing':
    case 'exited':
    case 'dead':
      return { state: 'exited', finishedAtMs: ms(state.finishedAtNs), exitCode: state.exitCode === engineRefused && state.error !== '' ? unclear : state.exitCode, oomKilled: state.oomKilled }
  }
}
