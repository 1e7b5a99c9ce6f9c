/** What the main thread and the poller's worker say to each other. */
import type { FaultMessage } from '../faultMessage.ts'

export type PollerRequest =
  | { readonly kind: 'watchExit'; readonly id: number; readonly pid: number; readonly startTime: bigint | undefined; readonly child: boolean }
  | { readonly kind: 'forget'; readonly id: number }
  | { readonly kind: 'connect'; readonly id: number; readonly path: string }
  | { readonly kind: 'cutOff'; readonly id: number }
  | { readonly kind: 'stop' }

export type PollerEvent =
  | { readonly kind: 'ready'; readonly wakeFd: number }
  | { readonly kind: 'exited'; readonly id: number; readonly exitCode: number | undefined; readonly signal: number | undefined }
  | { readonly kind: 'connected'; readonly id: number; readonly fd: number }
  | { readonly kind: 'stalled'; readonly id: number }
  | { readonly kind: 'flowing'; readonly id: number }
  | { readonly kind: 'failed'; readonly id: number; readonly fault: FaultMessage }
