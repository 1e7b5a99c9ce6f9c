/**
 * BuildKit's services as docker's clients find them behind `POST /grpc`: `Control`, and `LLBBridge` for clients that are their builds'
 * frontend themselves, as buildx is (moby/buildkit `control/`, `frontend/gateway/`). Builds are known to all connections.
 */
import type { Duplex } from 'node:stream'
import { serveGrpc, type GrpcMethod } from '#base/grpc-server.ts'
import type { EngineBackend } from '../http/backend.ts'
import { Rendezvous } from '../session/rendezvous.ts'
import { controlMethods } from './control.ts'
import { statusOfFailure } from './failure.ts'
import type { Job } from './job.ts'
import { BuildHistory } from './history.ts'
import { bridgeMethods } from './llb-bridge.ts'
import type { FrontendResult } from './result.ts'
import type { StatusLog } from './status-log.ts'

export interface BuildService {
  readonly backend: EngineBackend
  /** By the client's ref, while their Solve is under way. */
  readonly jobs: Rendezvous<Job>
  /** What they say, also for who asks only when they are over. */
  readonly statuses: Rendezvous<StatusLog>
  /** Those of builds that are over. */
  readonly unreadStatuses: Map<string, Disposable>
  readonly history: BuildHistory
  /** By their id, for as long as somebody holds them. */
  readonly results: Map<string, FrontendResult>
}

export function openBuildService(backend: EngineBackend): (socket: Duplex) => Promise<void> {
  const service: BuildService = { backend, jobs: new Rendezvous(backend.clock, 'no such job'), statuses: new Rendezvous(backend.clock, 'no such job'), unreadStatuses: new Map(), results: new Map(), history: new BuildHistory(backend.clock) }
  const methods: ReadonlyMap<string, GrpcMethod> = new Map([...controlMethods(service), ...bridgeMethods(service)])
  const statusOf = (error: unknown): ReturnType<typeof statusOfFailure> => {
    const status = statusOfFailure(error)
    backend.log.debug({ error: status.message }, 'a call of a build client failed')
    return status
  }
  return (socket) => serveGrpc(socket, { methods, statusOf })
}
