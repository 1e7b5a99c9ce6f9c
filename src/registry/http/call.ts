/** One request on its way through a route, and what every route needs of the rooms beside. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Clock } from '#base/clock.ts'
import { Fault } from '#base/fault.ts'
import type { RouteParams } from '#base/http.ts'
import type { Sendfile } from '#linux/contract/sendfile.ts'
import type { Digest } from '#oci/digest.ts'
import type { Caller, RegistryAuth } from '../auth/registry-auth.ts'
import type { Action } from '../auth/tokens.ts'
import type { Manifests } from '../manifests.ts'
import type { Mirror } from '../mirror/mirror.ts'
import type { Quotas } from '../quotas.ts'
import type { Repositories } from '../repositories.ts'
import type { Content } from '../storage/contract.ts'
import type { Uploads } from '../uploads.ts'

export interface Call {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly params: RouteParams
  readonly query: URLSearchParams
  readonly caller: Caller
}

export type Route = (call: Call) => Promise<void>

/** Method, pattern and function: what a file of routes hands over. */
export type Routes = readonly (readonly [method: string, pattern: string, route: Route])[]

export interface Rooms {
  readonly auth: RegistryAuth
  readonly content: Content
  readonly manifests: Manifests
  readonly repositories: Repositories
  readonly uploads: Uploads
  readonly quotas: Quotas
  readonly mirror: Mirror
  readonly clock: Clock
  readonly sendfile?: Sendfile
  /** Nothing may be pushed or deleted. */
  readonly isReadOnly: boolean
  /** What happened that others want to know: a write, or a pull. */
  readonly happened: (event: RegistryEvent, call: Call) => void
}

export interface RegistryEvent {
  readonly action: 'push' | 'pull' | 'mount' | 'delete'
  readonly repository: string
  readonly digest?: Digest
  readonly tag?: string
  readonly mediaType?: string
  readonly sizeBytes?: number
}

/** The repository of the call, in which the caller may do this. */
export function repositoryOf(rooms: Rooms, call: Call, action: Action): string {
  const repository = call.params['name'] ?? ''
  rooms.auth.demand(call.caller, action, repository)
  if (rooms.isReadOnly && action !== 'pull') throw new Fault('methodNotAllowed', 'this registry is read-only')
  if (action === 'push' && rooms.mirror.covers(repository)) throw new Fault('methodNotAllowed', `repository '${repository}' mirrors another registry: push it there`)
  return repository
}
