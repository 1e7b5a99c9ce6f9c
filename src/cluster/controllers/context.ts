/** What every controller is given. Controllers touch neither timers nor the network: time and the API are ports. */
import type { Clock } from '#base/clock.ts'
import type { Logger } from '#base/log.ts'
import type { EventRecorder } from '../client/event-recorder.ts'
import type { Informers } from '../client/informers.ts'
import type { Client } from '../contract/client.ts'

export interface ControllerContext {
  readonly client: Client
  readonly informers: Informers
  readonly clock: Clock
  readonly log: Logger
  /** A recorder that signs as `component`. */
  recorder(component: string): EventRecorder
}
